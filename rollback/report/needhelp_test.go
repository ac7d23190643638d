package report_test

import (
	"slices"
	"testing"
	"time"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/report"
	"github.com/upcommerce/backout/rollback/rollbacktest"
)

// TestWhichRecordsNeedHelpNow: status page and metric show one answer.
func TestWhichRecordsNeedHelpNow(t *testing.T) {
	now := rollbacktest.Now()
	row := func(revision int, opened, closed time.Duration) report.Row {
		r := report.Row{Key: rollback.Key{Namespace: "shop", Release: "web"}, Revision: revision, Opened: now.Add(-opened), NeedsHelp: true}
		if closed > 0 {
			r.Closed = now.Add(-closed)
		}
		return r
	}
	helped, other := row(2, time.Hour, 0), row(3, time.Minute, 0)
	helped.NeedsHelp, other.Release = false, "api"
	newer := row(3, time.Minute, 0)
	newer.NeedsHelp = false
	late := row(1, time.Minute, time.Second)
	late.NeedsHelp = false
	reinstalled := row(9, 2*time.Hour, 2*time.Hour)
	reinstalled.NeedsHelp = false
	again := row(2, time.Minute, time.Second)
	again.NeedsHelp = false
	for _, c := range []struct {
		rule string
		rows []report.Row
		want []int
	}{
		{"an open record counts however old it is", []report.Row{row(2, 30*time.Hour, 0)}, []int{2}},
		{"a record that needs no help does not count", []report.Row{helped}, nil},
		{"a closed one counts for a while", []report.Row{row(2, 5*time.Hour, report.HelpGrace-time.Second)}, []int{2}},
		{"and then not any more", []report.Row{row(2, 5*time.Hour, report.HelpGrace)}, nil},
		{"a later record about a newer revision ends it", []report.Row{newer, row(2, time.Hour, time.Minute)}, nil},
		{"a late alert about an older revision does not", []report.Row{late, row(2, time.Hour, time.Minute)}, []int{2}},
		{"nor does a record of an earlier installation", []report.Row{row(2, time.Hour, time.Minute), reinstalled}, []int{2}},
		{"in whatever order", []report.Row{row(2, time.Hour, time.Minute), newer}, nil},
		{"a newer record about the same revision does not", []report.Row{again, row(2, time.Hour, time.Minute)}, []int{2}},
		{"and no record of another release", []report.Row{other, row(2, time.Hour, time.Minute)}, []int{3, 2}},
		{"an open record counts in spite of a newer one", []report.Row{newer, row(2, time.Hour, 0)}, []int{2}},
	} {
		var got []int
		for _, r := range (report.View{Rows: c.rows}).NeedHelp(now) {
			got = append(got, r.Revision)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: revisions %v need help, want %v", c.rule, got, c.want)
		}
	}
}
