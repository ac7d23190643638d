package report

import (
	"slices"
	"time"

	"github.com/upcommerce/backout/rollback"
)

// HelpGrace is how long a closed record that needs help is reported: backout cannot
// know when an operator has looked at it.
const HelpGrace = 4 * time.Hour

// NeedHelp returns the records that need an operator at now, in the order of v.Rows.
// A closed one counts for HelpGrace or as long as it has a leftover, unless a later record of its release is about a
// newer revision: a late alert about an older one ends nothing. Page and metric show this
// answer.
func (v View) NeedHelp(now time.Time) []Row {
	var rows []Row
	for _, r := range v.Rows {
		if r.NeedsHelp && (r.Open() || !r.Leftover.IsZero() || now.Sub(r.Closed) < HelpGrace && !v.movedOn(r)) {
			rows = append(rows, r)
		}
	}
	return rows
}

// movedOn reports whether a later record of r's release is about a newer revision.
func (v View) movedOn(r Row) bool {
	return slices.ContainsFunc(v.Rows, func(o Row) bool {
		return o.Key == r.Key && o.Opened.After(r.Opened) && o.Revision > r.Revision
	})
}

// Newest returns the newest record of each release. The pointers point into v.Rows.
func (v View) Newest() map[rollback.Key]*Row {
	newest := make(map[rollback.Key]*Row)
	for i := range v.Rows {
		if r := &v.Rows[i]; newest[r.Key] == nil || newest[r.Key].Opened.Before(r.Opened) {
			newest[r.Key] = r
		}
	}
	return newest
}
