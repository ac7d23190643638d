// Package ledger stores what backout's replicas and people have to agree on:
//
//	ledger.go  records, one ConfigMap per accused revision
//	follow.go  tells of every change of a record
//	memory.go  keeps what follow.go has told, for whoever cannot wait
//	pauses.go  what people told backout to leave alone
//	lease.go   which replica leads
//	lock.go    the Lease that says so, and what it tells about this replica
//	term.go    whether this process may still write
//
// A record stands in the release's own namespace and is named as Helm names its
// own (backout.v1.<release>.v<revision>), so that `kubectl get configmap -o yaml`
// tells the whole story.
package ledger

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/yaml"

	"github.com/upcommerce/backout/rollback"
)

// Labels of a record's ConfigMap. The first one is also on what is no record; the
// release's name is only on records.
const (
	managedLabel  = "app.kubernetes.io/managed-by"
	managedValue  = "backout"
	releaseLabel  = "backout.dev/release"
	revisionLabel = "backout.dev/revision"
	verdictLabel  = "backout.dev/verdict"
	openLabel     = "backout.dev/open"
)

// Label selectors of the records of everything, and of what is not closed.
const (
	recordSelector = managedLabel + "=" + managedValue + "," + releaseLabel
	openSelector   = recordSelector + "," + openLabel + "=true"
)

// Keys of a record's ConfigMap.
const (
	recordKey  = "record.yaml"
	summaryKey = "summary"
)

// fieldManager names backout in the managed fields of what it writes.
const fieldManager = "backout"

// Options are the parts of a Ledger.
type Options struct {
	Client kubernetes.Interface
	// Namespaces are where open records are looked for, and followed.
	Namespaces []string
	// Own is backout's own namespace, where everything can be paused at once; ""
	// if there is none.
	Own string
	// Gone is told by Follow of records that were deleted; nil is told nothing.
	Gone func(k rollback.Key, revision int)
	// Log is slog.Default if nil.
	Log *slog.Logger
}

// Ledger reads and writes records and pauses. It is safe for concurrent use, by
// several processes too: every write of a record compares the resourceVersion.
type Ledger struct {
	client     kubernetes.Interface
	namespaces []string
	own        string
	gone       func(k rollback.Key, revision int)
	log        *slog.Logger
	memory     memory
}

// New returns a ledger. It asks nothing of the API server.
func New(o Options) *Ledger {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Gone == nil {
		o.Gone = func(rollback.Key, int) {}
	}
	return &Ledger{client: o.Client, namespaces: o.Namespaces, own: o.Own, gone: o.Gone, log: o.Log}
}

// Name returns the name of the ConfigMap of a record.
func Name(release string, revision int) string {
	return fmt.Sprintf("backout.v1.%s.v%d", release, revision)
}

// Records returns all records of a release, oldest revision first, as they are
// stored now. It returns an error that names the ConfigMap if one cannot be read: to
// act as if it were not there could mean to act twice.
func (l *Ledger) Records(ctx context.Context, k rollback.Key) ([]rollback.Record, error) {
	return l.of(ctx, k, fromStore)
}

// Recent returns what Records does, as the API server has it at hand: some
// milliseconds old, as a rule, where Records waits up to a tenth of a second for the
// API server's cache. Save refuses to write what is built on an older state.
func (l *Ledger) Recent(ctx context.Context, k rollback.Key) ([]rollback.Record, error) {
	return l.of(ctx, k, fromCache)
}

// The resourceVersions of a list: whatever the API server has at hand, and what is
// so now.
const (
	fromCache = "0"
	fromStore = ""
)

func (l *Ledger) of(ctx context.Context, k rollback.Key, version string) ([]rollback.Record, error) {
	records, err := l.list(ctx, k.Namespace, metav1.ListOptions{LabelSelector: recordSelector + "=" + k.Release, ResourceVersion: version})
	if err != nil {
		return nil, fmt.Errorf("read the records of %s: %w", k, err)
	}
	slices.SortFunc(records, func(a, b rollback.Record) int { return cmp.Compare(a.Revision, b.Revision) })
	return records, nil
}

// Record returns the record of one revision as it is stored now, and whether there
// is one.
func (l *Ledger) Record(ctx context.Context, k rollback.Key, revision int) (rollback.Record, bool, error) {
	cm, err := l.client.CoreV1().ConfigMaps(k.Namespace).Get(ctx, Name(k.Release, revision), metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return rollback.Record{}, false, nil
	}
	if err != nil {
		return rollback.Record{}, false, fmt.Errorf("read the record of %s revision %d: %w", k, revision, err)
	}
	r, err := decode(cm)
	return r, err == nil, err
}

// All returns every record of the ledger's namespaces, newest first.
func (l *Ledger) All(ctx context.Context) ([]rollback.Record, error) {
	return l.everywhere(ctx, recordSelector)
}

// Open returns the releases that have a record which is not closed. A namespace
// that cannot be read does not hide the others: what was found is returned with
// the error.
func (l *Ledger) Open(ctx context.Context) ([]rollback.Key, error) {
	records, err := l.everywhere(ctx, openSelector)
	var keys []rollback.Key
	for _, r := range records {
		if !slices.Contains(keys, r.Key) {
			keys = append(keys, r.Key)
		}
	}
	return keys, err
}

func (l *Ledger) everywhere(ctx context.Context, selector string) ([]rollback.Record, error) {
	var all []rollback.Record
	var errs []error
	for _, namespace := range l.namespaces {
		records, err := l.list(ctx, namespace, metav1.ListOptions{LabelSelector: selector})
		if err != nil {
			errs = append(errs, fmt.Errorf("read the records in namespace %s: %w", namespace, err))
		}
		all = append(all, records...)
	}
	slices.SortFunc(all, func(a, b rollback.Record) int { return b.Opened.Compare(a.Opened) })
	return all, errors.Join(errs...)
}

// list returns the records that can be read, together with an error for each that
// cannot.
func (l *Ledger) list(ctx context.Context, namespace string, o metav1.ListOptions) ([]rollback.Record, error) {
	list, err := l.client.CoreV1().ConfigMaps(namespace).List(ctx, o)
	if err != nil {
		return nil, err
	}
	records := make([]rollback.Record, 0, len(list.Items))
	var errs []error
	for i := range list.Items {
		r, err := decode(&list.Items[i])
		if err != nil {
			errs = append(errs, err)
			continue
		}
		records = append(records, r)
	}
	return records, errors.Join(errs...)
}

// Save creates a record without Version and replaces one with it. It returns
// rollback.ErrConflict if somebody else wrote meanwhile, and
// rollback.ErrUnknownRelease if the namespace is gone or going.
func (l *Ledger) Save(ctx context.Context, r rollback.Record) (rollback.Record, error) {
	cm, err := encode(r)
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
		r.Version = cm.ResourceVersion
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

// Delete removes a record; one that is gone already is no error. It returns
// rollback.ErrConflict, having removed nothing, if the stored record is not the
// one that was read.
func (l *Ledger) Delete(ctx context.Context, r rollback.Record) error {
	if r.Version == "" {
		return fmt.Errorf("delete the record of %s revision %d: it was not read from the ledger", r.Key, r.Revision)
	}
	// A ConfigMap that was deleted and made again has another resourceVersion too:
	// the API server counts them for all objects together.
	err := l.client.CoreV1().ConfigMaps(r.Namespace).Delete(ctx, Name(r.Release, r.Revision), metav1.DeleteOptions{
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

func encode(r rollback.Record) (*corev1.ConfigMap, error) {
	text, err := yaml.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("encode the record of %s revision %d: %w", r.Key, r.Revision, err)
	}
	return &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{
			Name: Name(r.Release, r.Revision), Namespace: r.Namespace, ResourceVersion: r.Version,
			Labels: map[string]string{
				managedLabel: managedValue, releaseLabel: r.Release,
				revisionLabel: strconv.Itoa(r.Revision), verdictLabel: string(r.Decision().Verdict),
				openLabel: strconv.FormatBool(r.Closed.IsZero()),
			},
		},
		Data: map[string]string{recordKey: string(text), summaryKey: r.Summary()},
	}, nil
}

func decode(cm *corev1.ConfigMap) (rollback.Record, error) {
	var r rollback.Record
	if err := yaml.Unmarshal([]byte(cm.Data[recordKey]), &r); err != nil {
		return r, fmt.Errorf("decode the record in ConfigMap %s/%s: %w: mend it or delete it", cm.Namespace, cm.Name, err)
	}
	if r.Namespace != cm.Namespace || Name(r.Release, r.Revision) != cm.Name {
		return r, fmt.Errorf("the record in ConfigMap %s/%s is about %s revision %d: mend it or delete it", cm.Namespace, cm.Name, r.Key, r.Revision)
	}
	r.Version = cm.ResourceVersion
	return r, nil
}
