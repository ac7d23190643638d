package ledger

import (
	"errors"
	"fmt"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"go.yaml.in/yaml/v3"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/upcommerce/backout/rollback"
)

// Bounds of a stored record: other clients can write ConfigMaps too, of up to 1 MiB.
const (
	// maxRecord bounds the text of a record, in bytes. Most have less than 10 KiB; one
	// that is full of the longest texts has 150 KiB.
	maxRecord = 256 << 10
	// maxWritten is the size beyond which details are left out of a record that backout
	// writes. The rest is for what an operator's command adds.
	maxWritten = maxRecord - 16<<10
	// maxNextToRecord bounds what a ConfigMap has next to the text of a record, in bytes:
	// the summary, and what the API server adds.
	maxNextToRecord = 64 << 10
	// maxNodes bounds the keys, values and entries of a record. One that is full has about
	// three thousand.
	maxNodes = 10_000
)

// errTooLarge says that a record exceeds a bound.
var errTooLarge = errors.New("too large")

// checkRecord returns errTooLarge if a record's text exceeds a bound.
func checkRecord(text string) error {
	if len(text) > maxRecord || isMark(text) {
		return fmt.Errorf("%w: it has more than %d KiB", errTooLarge, maxRecord>>10)
	}
	// Every node begins with one of these characters or follows one. Texts of alerts have
	// them, too; a record that is full of such texts is measured.
	marks := 0
	for _, c := range []byte(text) {
		switch c {
		case ':', '-', ',', '[', '{', '?', '*':
			marks++
		}
	}
	if marks < maxNodes/3 && !strings.Contains(text, "*") {
		return nil
	}
	var root yaml.Node
	if err := yaml.Unmarshal([]byte(text), &root); err != nil {
		return err
	}
	nodes, err := countNodes(&root)
	if err == nil && nodes > maxNodes {
		err = fmt.Errorf("%w: it has more than %d values", errTooLarge, maxNodes)
	}
	return err
}

// countNodes returns the number of nodes, or an error if one of them is an alias: backout
// writes none, and a few of them can stand for millions of nodes.
func countNodes(n *yaml.Node) (int, error) {
	if n.Kind == yaml.AliasNode {
		return 0, errors.New("it has a YAML alias")
	}
	count := 1
	for _, child := range n.Content {
		nodes, err := countNodes(child)
		if err != nil {
			return 0, err
		}
		count += nodes
	}
	return count, nil
}

// unmarshalBounded decodes the text of a record within the bounds. A panic of the decoder
// is an error.
func unmarshalBounded(text string) (r rollback.Record, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			r, err = rollback.Record{}, fmt.Errorf("it cannot be decoded: %v", cause)
		}
	}()
	if err := checkRecord(text); err != nil {
		return r, err
	}
	return unmarshal(text)
}

// Texts in place of those of records that are not kept: no record begins like this.
const (
	// tooLargeMark is for a ConfigMap beyond the bounds. It cannot be decoded either.
	tooLargeMark = "\x00too large"
	// leftOutMark is for one that a list has no room for.
	leftOutMark = "\x00left out"
)

// shorten leaves in a ConfigMap what a record needs. One that is too large stays too large
// to decode, and no more.
func shorten(cm *corev1.ConfigMap) {
	text, found := cm.Data[recordKey]
	if cm.Size() > maxRecord+maxNextToRecord {
		text, found = tooLargeMark, true
	}
	labels := make(map[string]string, 2)
	for _, name := range []string{releaseLabel, revisionLabel} {
		if value, ok := cm.Labels[name]; ok {
			labels[name] = value
		}
	}
	*cm = corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: cm.Namespace, Name: cm.Name, ResourceVersion: cm.ResourceVersion, Labels: labels}}
	if found {
		cm.Data = map[string]string{recordKey: text}
	}
}

// isMark reports whether a text is in place of that of a record.
func isMark(text string) bool { return text == tooLargeMark || text == leftOutMark }

// Reasons for which a record cannot be read.
const (
	unreadableDamaged  = "damaged"
	unreadableTooLarge = "too-large"
)

// newUnreadable returns a counter of the records that cannot be read, and registers it
// unless reg is nil.
func newUnreadable(reg prometheus.Registerer) *prometheus.CounterVec {
	unreadable := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "backout_unreadable_records_total",
		Help: "Records whose ConfigMap backout cannot read, by reason: damaged, or too large. A ConfigMap that did not change is counted once by each replica.",
	}, []string{"reason"})
	for _, reason := range []string{unreadableDamaged, unreadableTooLarge} {
		unreadable.WithLabelValues(reason)
	}
	if reg != nil {
		reg.MustRegister(unreadable)
	}
	return unreadable
}

func unreadableReason(err error) string {
	if errors.Is(err, errTooLarge) {
		return unreadableTooLarge
	}
	return unreadableDamaged
}
