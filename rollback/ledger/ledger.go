// Package ledger stores the state that backout's replicas and operators share:
//
//	ledger.go   records, one ConfigMap per suspect revision
//	list.go     lists of records, within bounds
//	stored.go   the stored form of a record
//	keys.go     the keys with which replicas sign records
//	signatures.go  the signatures of a record's parts
//	bounds.go   the bounds within which a record is read
//	legacy.go   the form in which earlier versions stored it
//	follow.go   the watch on records, for every change of one
//	firstlist.go  bounds what is kept while everything in a namespace is read
//	sink.go     what the watch delivers
//	cache.go    the records that the watch has delivered, for readers that cannot wait
//	cacheroom.go  which records have room in it
//	failure.go  errors of requests that are retried, logged once
//	pauses.go   which releases operators have paused
//	lease.go    which replica leads
//	lock.go     the Lease in the API server, and when this replica has lost it
//	term.go     whether this process may write now
//
// A record is stored in the release's own namespace and is named as Helm names its
// Secrets (backout.v1.<release>.v<revision>), so that `kubectl get configmap -o yaml`
// shows everything.
package ledger

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/semaphore"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/parallel"
)

// Options are the parts of a Ledger.
type Options struct {
	Client kubernetes.Interface
	// Namespaces are those in which All, Open and Follow find records.
	Namespaces []string
	// Own is backout's own namespace, where an operator can pause everything; "" if
	// it does not have one.
	Own string
	// Keys sign what is saved, and what they have not signed is left out of what is read. With
	// nil, records are neither signed nor verified: commands are no replicas.
	Keys *Keys
	// TrackLabel is the running backout's rollback.Track.Option. With Keys, it replaces that of a
	// record that backout has not signed: commands for operators contain it.
	TrackLabel string
	// Gone is called by Follow for each record that was deleted; nil if nothing needs to
	// know.
	Gone func(k rollback.Key, revision int)
	// Summary returns a record in one line, which is stored next to it for readers of
	// the ConfigMap; nil stores none.
	Summary func(r *rollback.Record) string
	// Registerer gets the metrics of a Ledger; with nil they are not registered.
	Registerer prometheus.Registerer
	// Log is slog.Default if nil.
	Log *slog.Logger
}

// Ledger reads and writes records and pauses. It is safe for concurrent use, also by
// several processes: every write of a record compares the resourceVersion.
type Ledger struct {
	client     kubernetes.Interface
	namespaces []string
	own        string
	keys       *Keys
	trackLabel string
	gone       func(k rollback.Key, revision int)
	summary    func(r *rollback.Record) string
	log        *slog.Logger
	cache      recordCache
	firstLists firstLists
	// decoding limits how much is listed and decoded at a time, in bytes.
	decoding *semaphore.Weighted
	// unreadable counts the records that Follow could not read.
	unreadable *prometheus.CounterVec
	// unsigned counts the parts that Follow saw ignored.
	unsigned prometheus.Counter
}

// New returns a ledger. It sends no request.
func New(o Options) *Ledger {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Gone == nil {
		o.Gone = func(rollback.Key, int) {}
	}
	if o.Summary == nil {
		o.Summary = func(*rollback.Record) string { return "" }
	}
	return &Ledger{
		client: o.Client, namespaces: o.Namespaces, own: o.Own, keys: o.Keys, trackLabel: o.TrackLabel, gone: o.Gone, summary: o.Summary, log: o.Log,
		decoding:   semaphore.NewWeighted(maxDecoding),
		unreadable: newUnreadable(o.Registerer), unsigned: newUnsigned(o.Registerer),
	}
}

// Records returns all records of a release, oldest revision first. It returns an error
// that names the ConfigMap if one cannot be read: to act as if that record did not exist
// could mean to act twice.
//
// A Stored read waits up to a tenth of a second for the API server's cache. A Recent one
// is usually some milliseconds old; Save refuses a record that builds on an outdated one.
// A Cached one is returned without a request, or fails with rollback.ErrNotCached.
func (l *Ledger) Records(ctx context.Context, k rollback.Key, c rollback.Consistency) ([]rollback.Record, error) {
	switch c {
	case rollback.Cached:
		return l.cachedRecords(ctx, k)
	case rollback.Recent:
		return l.listRelease(ctx, k, anyVersion)
	case rollback.Stored:
	}
	return l.listRelease(ctx, k, newestVersion)
}

// The resourceVersions that a list can ask for: any that the API server has cached, and
// the newest.
const (
	anyVersion    = "0"
	newestVersion = ""
)

func byRevision(a, b rollback.Record) int { return cmp.Compare(a.Revision, b.Revision) }

// Record returns the record of one revision as it is stored now, and whether there is
// one.
func (l *Ledger) Record(ctx context.Context, k rollback.Key, revision int) (rollback.Record, bool, error) {
	cm, err := l.client.CoreV1().ConfigMaps(k.Namespace).Get(ctx, Name(k.Release, revision), metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return rollback.Record{}, false, nil
	}
	if err != nil {
		return rollback.Record{}, false, fmt.Errorf("read the record of %s revision %d: %w", k, revision, err)
	}
	r, _, err := l.decode(ctx, cm)
	return r, err == nil, err
}

// All returns every record of the ledger's namespaces, newest first. A namespace or a
// record that cannot be read does not hide the others: All returns them with the error.
func (l *Ledger) All(ctx context.Context) ([]rollback.Record, error) {
	return l.listAll(ctx, recordSelector)
}

// Open returns the releases that have an open record. A namespace or a record that
// cannot be read does not hide the others: Open returns them with the error.
func (l *Ledger) Open(ctx context.Context) ([]rollback.Key, error) {
	records, err := l.listAll(ctx, openSelector)
	var keys []rollback.Key
	for _, r := range records {
		if !slices.Contains(keys, r.Key) {
			keys = append(keys, r.Key)
		}
	}
	return keys, err
}

// listAll lists every namespace within bounds of its own: a target that is full of records
// hides and delays those of no other.
func (l *Ledger) listAll(ctx context.Context, selector string) ([]rollback.Record, error) {
	found, errs := make([][]rollback.Record, len(l.namespaces)), make([]error, len(l.namespaces))
	lists := parallel.NewGroup()
	lists.SetLimit(listsAtOnce)
	for i, namespace := range l.namespaces {
		lists.Go(func() error {
			ctx, cancel := context.WithTimeout(ctx, listLimit)
			defer cancel()
			var err error
			if found[i], err = l.list(ctx, namespace, metav1.ListOptions{LabelSelector: selector}, bound{size: maxListed, weight: pageWeight}); err != nil {
				errs[i] = fmt.Errorf("read the records in namespace %s: %w", namespace, err)
			}
			return nil
		})
	}
	_ = lists.Wait() // each has an error of its own
	all := slices.Concat(found...)
	slices.SortFunc(all, func(a, b rollback.Record) int { return b.Opened.Compare(a.Opened) })
	return all, errors.Join(errs...)
}

// Save creates a record without Version and replaces one with it. It returns
// rollback.ErrConflict, having written nothing, if another client wrote the record since
// it was read, and rollback.ErrUnknownRelease if the namespace is gone or being deleted.
func (l *Ledger) Save(ctx context.Context, r rollback.Record) (rollback.Record, error) {
	stored, cm, err := l.fit(r)
	if err != nil {
		return r, err
	}
	maps := l.client.CoreV1().ConfigMaps(r.Namespace)
	if r.Version == "" {
		cm, err = maps.Create(ctx, cm, metav1.CreateOptions{FieldManager: fieldManager})
	} else {
		cm, err = maps.Update(ctx, cm, metav1.UpdateOptions{FieldManager: fieldManager})
	}
	switch {
	case err == nil:
		r.Signatures, r.Version = stored.Signatures, cm.ResourceVersion
		return r, nil
	case apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		return r, fmt.Errorf("store the record of %s: %w: its namespace is being deleted", r.Key, rollback.ErrUnknownRelease)
	case r.Version == "" && apierrors.IsNotFound(err):
		return r, fmt.Errorf("store the record of %s: %w: its namespace is gone", r.Key, rollback.ErrUnknownRelease)
	case apierrors.IsConflict(err), apierrors.IsAlreadyExists(err), apierrors.IsNotFound(err):
		return r, fmt.Errorf("store the record of %s revision %d: %w", r.Key, r.Revision, rollback.ErrConflict)
	default:
		return r, fmt.Errorf("store the record of %s revision %d: %w", r.Key, r.Revision, err)
	}
}

// Delete removes a record; it is no error if the record is gone already. It returns
// rollback.ErrConflict, having removed nothing, if the stored record is not the one that
// was read.
func (l *Ledger) Delete(ctx context.Context, r rollback.Record) error {
	if r.Version == "" {
		return fmt.Errorf("delete the record of %s revision %d: it was not read from the ledger", r.Key, r.Revision)
	}
	// A ConfigMap that was deleted and created again has another resourceVersion too:
	// the API server counts them for all objects together.
	err := l.client.CoreV1().ConfigMaps(r.Namespace).Delete(ctx, r.Name(), metav1.DeleteOptions{
		Preconditions: &metav1.Preconditions{ResourceVersion: &r.Version},
	})
	switch {
	case err == nil, apierrors.IsNotFound(err):
		return nil
	case apierrors.IsConflict(err):
		return fmt.Errorf("delete the record of %s revision %d: %w", r.Key, r.Revision, rollback.ErrConflict)
	default:
		return fmt.Errorf("delete the record of %s revision %d: %w", r.Key, r.Revision, err)
	}
}
