package ledger

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/upcommerce/backout/rollback"
)

// Labels of a record's ConfigMap. The first one is also on the ConfigMap of pauses and on
// the Lease; the release's name is only on records.
const (
	managedLabel  = "app.kubernetes.io/managed-by"
	managedValue  = "backout"
	releaseLabel  = "backout.dev/release"
	revisionLabel = "backout.dev/revision"
	verdictLabel  = "backout.dev/verdict"
	openLabel     = "backout.dev/open"
)

// Label selectors of all records, and of open ones.
const (
	recordSelector = managedLabel + "=" + managedValue + "," + releaseLabel
	openSelector   = recordSelector + "," + openLabel + "=true"
)

// Keys of a record's ConfigMap.
const (
	recordKey  = "record.yaml"
	summaryKey = "summary"
)

// fieldManager names backout in the managed fields of the objects that it writes.
const fieldManager = "backout"

// Name returns the name of the ConfigMap of a record: that of rollback.Record.Name.
func Name(release string, revision int) string {
	r := rollback.Record{Key: rollback.Key{Release: release}, Revision: revision}
	return r.Name()
}

// fit returns the record as it is stored, and its ConfigMap. It leaves details out of a record
// that is too large with them.
func (l *Ledger) fit(r rollback.Record) (rollback.Record, *corev1.ConfigMap, error) {
	stored := r.Printable() // as it will be read
	for reduction := 1; ; reduction++ {
		if err := l.sign(&stored); err != nil {
			return r, nil, fmt.Errorf("store the record of %s revision %d: %w", r.Key, r.Revision, err)
		}
		cm, err := l.encode(stored)
		large := errors.Is(err, errTooLarge) || err == nil && len(cm.Data[recordKey]) > maxWritten
		// Without keys, less text would leave a part without its signature.
		if !large || reduction > rollback.Reductions || l.keys == nil && len(r.Signatures) > 0 {
			return stored, cm, err
		}
		stored = stored.Reduced(reduction)
	}
}

func (l *Ledger) encode(r rollback.Record) (*corev1.ConfigMap, error) {
	text, err := yaml.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("encode the record of %s revision %d: %w", r.Key, r.Revision, err)
	}
	if len(text) > maxRecord {
		return nil, fmt.Errorf("encode the record of %s revision %d: %w: it could not be read again", r.Key, r.Revision, errTooLarge)
	}
	return &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{
			Name: r.Name(), Namespace: r.Namespace, ResourceVersion: r.Version,
			Labels: map[string]string{
				managedLabel: managedValue, releaseLabel: r.Release,
				revisionLabel: strconv.Itoa(r.Revision), verdictLabel: string(r.Decision().Verdict),
				openLabel: strconv.FormatBool(r.Closed.IsZero()),
			},
		},
		Data: map[string]string{recordKey: string(text), summaryKey: l.summary(&r)},
	}, nil
}

// decode returns the record in a ConfigMap, within the bounds, without the parts that backout
// has not signed, and the names of those. Its error names the ConfigMap.
func (l *Ledger) decode(ctx context.Context, cm *corev1.ConfigMap) (r rollback.Record, unsigned []string, err error) {
	r, err = unmarshalBounded(cm.Data[recordKey])
	if err != nil {
		return r, nil, fmt.Errorf("decode the record in ConfigMap %s/%s: %w: fix it or delete it", cm.Namespace, cm.Name, err)
	}
	if r.Namespace != cm.Namespace || r.Name() != cm.Name {
		return r, nil, fmt.Errorf("the record in ConfigMap %s/%s is about %s revision %d: fix it or delete it", cm.Namespace, cm.Name, r.Key, r.Revision)
	}
	r.Version = cm.ResourceVersion
	if unsigned, err = l.keepSigned(ctx, &r); err != nil {
		return r, nil, fmt.Errorf("verify the record in ConfigMap %s/%s: %w", cm.Namespace, cm.Name, err)
	}
	return r, unsigned, nil
}
