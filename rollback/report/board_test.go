package report_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/report"
	"github.com/upcommerce/backout/rollback/rollbacktest"
)

func record(release string, revision int, opened, closed time.Time) rollback.Record {
	return rollback.Record{
		Key: rollback.Key{Namespace: "shop", Release: release}, Revision: revision, Opened: opened, Closed: closed,
		Decisions: []rollback.Decision{{Verdict: rollback.Settling, Waits: true}},
	}
}

func rows(b *report.Board) string {
	var text string
	for _, r := range b.View().Rows {
		text += fmt.Sprintf("%s/%d ", r.Release, r.Revision)
	}
	return text
}

func TestBoardShowsOpenRecordsFirst(t *testing.T) {
	b := report.NewBoard()
	b.SetRecord(record("old", 1, rollbacktest.Now().Add(-time.Hour), rollbacktest.Now()))
	b.SetRecord(record("open", 2, rollbacktest.Now().Add(-2*time.Hour), time.Time{}))
	b.SetRecord(record("new", 3, rollbacktest.Now(), rollbacktest.Now()))
	if got := rows(b); got != "open/2 new/3 old/1 " {
		t.Errorf("open records come first, then the newest: got %s", got)
	}
	b.SetRecord(record("open", 2, rollbacktest.Now().Add(-2*time.Hour), rollbacktest.Now()))
	b.DeleteRecord(rollback.Key{Namespace: "shop", Release: "old"}, 1)
	if got := rows(b); got != "new/3 open/2 " {
		t.Errorf("a record is shown as it is stored now, and a deleted one is not shown: got %s", got)
	}
}

func TestBoardIsBounded(t *testing.T) {
	b := report.NewBoard()
	b.SetRecord(record("open", 1, rollbacktest.Now().Add(-time.Hour), time.Time{}))
	for i := range 2100 {
		b.SetRecord(record("web", i+1, rollbacktest.Now().Add(time.Duration(i)*time.Second), rollbacktest.Now()))
	}
	all := b.View().Rows
	if len(all) != 2000 || all[0].Release != "open" || all[1].Revision != 2100 {
		t.Errorf("the oldest closed records are dropped: got %d, first %v and %v", len(all), all[0].Key, all[1].Revision)
	}
}

// TestATargetFullOfRecordsTakesNoRowOfAnother: another client has stored 3,000 open ones.
func TestATargetFullOfRecordsTakesNoRowOfAnother(t *testing.T) {
	b := report.NewBoard()
	for i := range 20 {
		r := record("web", i+1, rollbacktest.Now().Add(-time.Hour), rollbacktest.Now())
		r.Namespace = "payments"
		b.SetRecord(r)
	}
	for i := range 3000 {
		b.SetRecord(record("forged", i+1, rollbacktest.Now().Add(time.Duration(i)*time.Second), time.Time{}))
	}
	all, payments := b.View().Rows, 0
	for _, r := range all {
		if r.Namespace == "payments" {
			payments++
		}
	}
	if len(all) != 2000 || payments != 20 {
		t.Errorf("the board has %d rows, %d of them of payments; want 2000, with all 20", len(all), payments)
	}
}

func TestBoardAnnouncesChanges(t *testing.T) {
	b := report.NewBoard()
	announced := func(changed <-chan struct{}) bool {
		select {
		case <-changed:
			return true
		default:
			return false
		}
	}
	changed := b.Changed()
	if announced(changed) {
		t.Error("nothing is announced before something changes")
	}
	b.SetReleases("shop", []rollback.GuardedRelease{{Key: rollbacktest.Shop()}})
	if !announced(changed) || announced(b.Changed()) {
		t.Error("a change is announced once")
	}
	if got := b.View().Releases; len(got) != 1 {
		t.Errorf("guarded releases are shown: got %v", got)
	}
}
