package ledger

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/upcommerce/backout/rollback"
)

// errKeys says that the keys could not be read that a record was signed with.
var errKeys = errors.New("read the key of a signature")

// maxSignatures bounds the signatures that are read of one record; backout writes fewer.
const maxSignatures = 4

// sign replaces the signatures of a printable record by those of its parts. Without keys, as in commands,
// it leaves those that were read: they stay valid for the parts that did not change.
func (l *Ledger) sign(r *rollback.Record) error {
	if l.keys == nil {
		return nil
	}
	parts := r.Parts()
	r.Signatures = make([]string, 0, len(parts))
	for _, p := range parts {
		text, err := signedText(p)
		if err != nil {
			return err
		}
		signature, err := l.keys.sign(text)
		if err != nil {
			return err
		}
		r.Signatures = append(r.Signatures, signature)
	}
	return nil
}

// keepSigned removes from a record what could start a step and has no valid signature, and
// returns the names of those parts. Without keys it removes nothing. It returns an error if
// the keys cannot be read.
func (l *Ledger) keepSigned(ctx context.Context, r *rollback.Record) ([]string, error) {
	if l.keys == nil {
		return nil, nil
	}
	signatures := r.Signatures[:min(len(r.Signatures), maxSignatures)]
	if err := l.keys.learn(ctx, signatures); err != nil {
		return nil, fmt.Errorf("%w: %w", errKeys, err)
	}
	removed := r.KeepSigned(func(p rollback.Part) bool {
		text, err := signedText(p)
		return err == nil && l.keys.verify(text, signatures)
	})
	if r.Unsigned {
		r.TrackLabel = l.trackLabel
	}
	return removed, nil
}

// signedText returns what is signed of a part of a printable record.
func signedText(p rollback.Part) ([]byte, error) {
	text, err := json.Marshal(struct {
		Of   rollback.RecordIdentity `json:"of"`
		Part any                     `json:"part"`
	}{p.Of, p.Content})
	if err != nil {
		return nil, fmt.Errorf("encode %s for its signature: %w", p.Name, err)
	}
	return text, nil
}

// newUnsigned returns a counter of the parts of records that were ignored, and registers it
// unless reg is nil.
func newUnsigned(reg prometheus.Registerer) prometheus.Counter {
	unsigned := prometheus.NewCounter(prometheus.CounterOpts{
		Name: "backout_unsigned_parts_total",
		Help: "Parts of records that backout ignored because it has not signed them: they were changed by another client, or signed with a key that is gone. Each replica counts each once, until the record is stored again.",
	})
	if reg != nil {
		reg.MustRegister(unsigned)
	}
	return unsigned
}
