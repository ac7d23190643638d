package report

import (
	"time"

	"github.com/upcommerce/backout/rollback"
)

// HelpGrace is how long a closed record that needs help is reported: backout cannot
// know when an operator has looked at it.
const HelpGrace = 4 * time.Hour

// NeedHelp returns the records that need an operator at now, in the order of v.Rows.
// A closed one counts for HelpGrace, unless a newer record of its release is about
// another revision. Page and metric show this answer.
func (v View) NeedHelp(now time.Time) []Row {
	newest := v.Newest()
	var rows []Row
	for _, r := range v.Rows {
		recent := now.Sub(r.Closed) < HelpGrace && newest[r.Key].Revision == r.Revision
		if r.NeedsHelp && (r.Open() || recent) {
			rows = append(rows, r)
		}
	}
	return rows
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
