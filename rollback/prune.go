package rollback

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"
)

// Prunable returns the records that may go: closed ones beyond the policy's
// number, newest kept first, and those older than its limit. A record stays, how
// old it ever is, as long as it is open, condemns content that the history still
// has, or tells that the newest revision is backout's own.
func Prunable(records []Record, h History, p Policy, now time.Time) []Record {
	return slices.DeleteFunc(late(records, p, now), func(r Record) bool { return r.needed(h) })
}

// late returns the closed records that are beyond the policy's number or older than
// its limit.
func late(records []Record, p Policy, now time.Time) []Record {
	newest := slices.Clone(records)
	slices.SortStableFunc(newest, func(a, b Record) int {
		return cmp.Or(b.Opened.Compare(a.Opened), cmp.Compare(b.Revision, a.Revision))
	})
	var old []Record
	for i, r := range newest {
		if !r.Closed.IsZero() && (i >= p.KeepRecords || now.Sub(r.Opened) > p.KeepRecordsFor) {
			old = append(old, r)
		}
	}
	return old
}

// needed reports whether a decision about the release could depend on r.
func (r *Record) needed(h History) bool {
	if r.Made != 0 && r.Made == h.Accused().Number || r.UID == h.Accused().UID {
		return true
	}
	condemns := Condemned([]Record{*r})
	return slices.ContainsFunc(h, func(rev Revision) bool { return condemns[rev.Content] })
}

// prune deletes what Prunable names. What cannot be done now is done after the
// next record.
func (e *Engine) prune(ctx context.Context, k Key) {
	records, err := e.ledger.Records(ctx, k)
	if err != nil || len(late(records, e.policy, time.Now())) == 0 {
		return
	}
	history, err := e.releases.History(ctx, k)
	if err != nil {
		return // without a history nobody knows what is condemned
	}
	for _, r := range Prunable(records, history, e.policy, time.Now()) {
		if err := e.ledger.Delete(ctx, r); err != nil && !errors.Is(err, ErrConflict) {
			e.log.WarnContext(ctx, "old record not deleted", "namespace", r.Namespace, "release", r.Release, "revision", r.Revision, "error", err)
		}
	}
}
