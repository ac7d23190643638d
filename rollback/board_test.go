package rollback_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/upcommerce/backout/rollback"
)

func row(release string, revision int, opened, closed time.Time) rollback.Record {
	return rollback.Record{
		Key: rollback.Key{Namespace: "shop", Release: release}, Revision: revision, Opened: opened, Closed: closed,
		Decisions: []rollback.Decision{{Verdict: rollback.Settling, Waits: true}},
	}
}

func shown(b *rollback.Board) string {
	var text string
	for _, r := range b.View().Rows {
		text += fmt.Sprintf("%s/%d ", r.Release, r.Revision)
	}
	return text
}

func TestBoardShowsOpenRecordsFirst(t *testing.T) {
	b := rollback.NewBoard()
	b.Notice(row("old", 1, now().Add(-time.Hour), now()))
	b.Notice(row("open", 2, now().Add(-2*time.Hour), time.Time{}))
	b.Notice(row("new", 3, now(), now()))
	if got := shown(b); got != "open/2 new/3 old/1 " {
		t.Errorf("open records come first, then the newest: got %s", got)
	}
	b.Notice(row("open", 2, now().Add(-2*time.Hour), now()))
	b.Forget(rollback.Key{Namespace: "shop", Release: "old"}, 1)
	if got := shown(b); got != "new/3 open/2 " {
		t.Errorf("a record is shown as it is stored now, and one that was deleted is not: got %s", got)
	}
}

func TestBoardIsBounded(t *testing.T) {
	b := rollback.NewBoard()
	b.Notice(row("open", 1, now().Add(-time.Hour), time.Time{}))
	for i := range 2100 {
		b.Notice(row("web", i+1, now().Add(time.Duration(i)*time.Second), now()))
	}
	rows := b.View().Rows
	if len(rows) != 2000 || rows[0].Release != "open" || rows[1].Revision != 2100 {
		t.Errorf("the oldest closed records go: got %d, first %v and %v", len(rows), rows[0].Key, rows[1].Revision)
	}
}

func TestBoardTellsOfNews(t *testing.T) {
	b := rollback.NewBoard()
	told := func(news <-chan struct{}) bool {
		select {
		case <-news:
			return true
		default:
			return false
		}
	}
	news := b.News()
	if told(news) {
		t.Error("there is no news before something changes")
	}
	b.Guard("shop", []rollback.Guarded{{Key: shop()}})
	if !told(news) || told(b.News()) {
		t.Error("a change is told once")
	}
	if got := b.View().Guarded; len(got) != 1 {
		t.Errorf("releases under guard are shown: got %v", got)
	}
}

func TestRefusalsAreShownAndCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := rollback.NewBoard()
		c := newCluster()
		e := newEngine(t, c, policy(), func(o *rollback.Options) { o.Board = b })
		other, gone, mistaken := alert("rollback"), alert("rollback"), alert("dance")
		other.Labels["namespace"] = "elsewhere"
		gone.Labels["release"] = "gone"
		accept(t, e, other)
		pass(time.Minute)
		accept(t, e, gone, mistaken, other)
		refusals := b.View().Refusals
		if len(refusals) != 3 {
			t.Fatalf("every refusal is shown: got %+v", refusals)
		}
		var repeated, unknown rollback.Refusal
		for _, r := range refusals {
			switch {
			case r.Namespace == "elsewhere":
				repeated = r
			case r.Release == "gone":
				unknown = r
			}
		}
		if repeated.Count != 2 || repeated.Last.Sub(repeated.First) != time.Minute || repeated.Verdict != rollback.NotAllowed {
			t.Errorf("one that is repeated is counted: got %+v", repeated)
		}
		if unknown.Verdict != rollback.UnknownRelease || unknown.Alert != "CanaryErrors" || unknown.Reason == "" {
			t.Errorf("a release that there is not is refused with its reason: got %+v", unknown)
		}
		for i := range 300 {
			other.Labels["release"] = fmt.Sprintf("r%d", i)
			accept(t, e, other)
		}
		if got := len(b.View().Refusals); got != 100 {
			t.Errorf("refusals are bounded, whoever posts: got %d", got)
		}
	})
}
