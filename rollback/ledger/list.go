package ledger

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/upcommerce/backout/rollback"
)

// Bounds of a list, so that one answer of the API server and all records together fit
// into memory.
const (
	// listPage is how many records one request lists, unless they come from the API
	// server's cache, which has no pages.
	listPage = 20
	// maxListed bounds the ConfigMaps of one namespace that a call reads, in bytes.
	maxListed = 32 << 20
	// leastListed is how much a ConfigMap counts at least, so that a namespace that is full of
	// empty ones is listed within listLimit, too.
	leastListed = 4 << 10
)

// Bounds of a call that lists every namespace. listLimit is that of each.
const (
	listsAtOnce = 2
	listLimit   = 10 * time.Second
)

// Bounds of the lists and decodes in progress. Others wait, usually for milliseconds.
const (
	// maxDecoding bounds the memory, in bytes: a text takes about three times its size.
	maxDecoding = 64 << 20
	textWeight  = 3
	// pageWeight is for a page of ConfigMaps of any size, cachedWeight for an answer from the
	// API server's cache, which has no pages.
	pageWeight   = listPage << 20
	cachedWeight = maxListed
)

// listWeight returns the weight of texts of that size, in bytes.
func listWeight(size int) int64 { return min(int64(size)*textWeight, maxDecoding) }

// maxRelease bounds the ConfigMaps of one release, in bytes: backout keeps some, of a few
// KiB each.
const maxRelease = 4 << 20

func (l *Ledger) listRelease(ctx context.Context, k rollback.Key, version string) ([]rollback.Record, error) {
	size, known := l.cache.textSize(k)
	if known && size > maxRelease {
		return nil, fmt.Errorf("read the records of %s: %w: they have more than %d MiB: delete those that backout has not written", k, errTooLarge, maxRelease>>20)
	}
	weight := listWeight(size)
	switch {
	case known:
	case version == anyVersion:
		weight = cachedWeight
	default:
		weight = pageWeight
	}
	o := metav1.ListOptions{LabelSelector: recordSelector + "=" + k.Release, ResourceVersion: version}
	records, err := l.list(ctx, k.Namespace, o, bound{size: maxRelease, weight: weight})
	if err != nil {
		return nil, fmt.Errorf("read the records of %s: %w", k, err)
	}
	// The label, by which they were listed, need not be that of the record.
	records = slices.DeleteFunc(records, func(r rollback.Record) bool { return r.Key != k })
	slices.SortFunc(records, byRevision)
	return records, nil
}

// bound is how many bytes of ConfigMaps a list reads, and the weight of one of its requests.
type bound struct {
	size   int
	weight int64
}

// list returns the records that can be read, together with an error for each that
// cannot, and for those beyond the bound: the ConfigMaps that it reads have at most
// that many bytes.
func (l *Ledger) list(ctx context.Context, namespace string, o metav1.ListOptions, b bound) ([]rollback.Record, error) {
	if o.ResourceVersion == newestVersion {
		o.Limit = listPage
	}
	all := listing{left: b.size}
	for {
		next, err := l.listPage(ctx, namespace, o, &all, b.weight)
		if err != nil {
			return all.records, errors.Join(append(all.errs, err)...)
		}
		if all.left < 0 {
			err = fmt.Errorf("%w: the records have more than %d MiB; the others are left out", errTooLarge, b.size>>20)
			return all.records, errors.Join(append(all.errs, err)...)
		}
		if o.Continue = next; next == "" {
			return all.records, errors.Join(all.errs...)
		}
	}
}

// listing is what a list has read, and how many bytes it may still read.
type listing struct {
	records []rollback.Record
	errs    []error
	left    int
}

// listPage makes one request of a list, and returns what the next one continues with. It
// waits until there is room.
func (l *Ledger) listPage(ctx context.Context, namespace string, o metav1.ListOptions, all *listing, weight int64) (string, error) {
	if err := l.decoding.Acquire(ctx, weight); err != nil {
		return "", fmt.Errorf("wait until other records are read: %w", err)
	}
	defer l.decoding.Release(weight)
	list, err := l.client.CoreV1().ConfigMaps(namespace).List(ctx, o)
	if err != nil {
		return "", err
	}
	for i := range list.Items {
		if all.left -= listed(&list.Items[i]); all.left < 0 {
			return "", nil
		}
		r, _, err := l.decode(ctx, &list.Items[i])
		if err != nil {
			all.errs = append(all.errs, err)
			continue
		}
		all.records = append(all.records, r)
	}
	return list.Continue, nil
}

// listed returns how much a ConfigMap counts in a list. Another client can put into it more
// than a record.
func listed(cm *corev1.ConfigMap) int { return max(cm.Size(), leastListed) }
