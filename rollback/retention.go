package rollback

import (
	"cmp"
	"slices"
	"time"
)

// Prunable returns the records that may be deleted: closed ones beyond the number that the
// policy keeps, the newest kept first, and those older than its limit. A record of any age
// stays as long as it is open, makes content of the history known bad, or shows that
// backout made the newest revision.
func Prunable(records []Record, h History, p Policy, now time.Time) []Record {
	return slices.DeleteFunc(RetentionExceeded(records, p, now), func(r Record) bool { return r.neededBy(h) })
}

// RetentionExceeded returns the closed records beyond the number that the policy keeps or
// older than its limit.
func RetentionExceeded(records []Record, p Policy, now time.Time) []Record {
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

// neededBy reports whether a decision about a release with this history could depend on r.
func (r *Record) neededBy(h History) bool {
	if r.Made != 0 && r.Made == h.Newest().Number || r.UID == h.Newest().UID {
		return true
	}
	knownBad := KnownBad(h.withContents([]Record{*r}))
	return slices.ContainsFunc(h, func(rev Revision) bool { return knownBad[rev.Content] })
}
