package ledger

import (
	"context"
	"errors"
	"fmt"
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
	listsAtOnce = 4
	listLimit   = 10 * time.Second
)

// list returns the records that can be read, together with an error for each that
// cannot, and for those beyond the bound: the ConfigMaps that it reads have at most
// that many bytes.
func (l *Ledger) list(ctx context.Context, namespace string, o metav1.ListOptions, bound int) ([]rollback.Record, error) {
	if o.ResourceVersion == newestVersion {
		o.Limit = listPage
	}
	var records []rollback.Record
	var errs []error
	left := bound
	for {
		list, err := l.client.CoreV1().ConfigMaps(namespace).List(ctx, o)
		if err != nil {
			return records, errors.Join(append(errs, err)...)
		}
		for i := range list.Items {
			if left -= listed(&list.Items[i]); left < 0 {
				return records, errors.Join(append(errs, fmt.Errorf("%w: the records have more than %d MiB; the others are left out", errTooLarge, bound>>20))...)
			}
			r, _, err := l.decode(ctx, &list.Items[i])
			if err != nil {
				errs = append(errs, err)
				continue
			}
			records = append(records, r)
		}
		if o.Continue = list.Continue; o.Continue == "" {
			return records, errors.Join(errs...)
		}
	}
}

// listed returns how much a ConfigMap counts in a list. Another client can put into it more
// than a record.
func listed(cm *corev1.ConfigMap) int { return max(cm.Size(), leastListed) }
