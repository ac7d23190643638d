package rollback_test

import (
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/upcommerce/backout/rollback"
)

// listener is a Reporter that remembers what it is handed.
type listener struct {
	mu      sync.Mutex
	records []rollback.Record
}

func (l *listener) Report(r rollback.Record) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.records = append(l.records, r)
}

func TestEveryReplicaHandsEveryRecordToItsReporter(t *testing.T) {
	for name, change := range map[string]func(*rollback.Options){"leader": func(*rollback.Options) {}, "follower": following} {
		synctest.Test(t, func(t *testing.T) {
			c, l := newCluster(), &listener{}
			e := newEngine(t, c, policy(), change, func(o *rollback.Options) { o.Reporter = l })
			run(t, e)
			opened(t, c, acting(), nil)
			r, _ := c.record(shop(), 2)
			e.Notice(r)
			r.Closed = time.Now()
			e.Notice(r)
			if len(l.records) != 2 || !l.records[0].Closed.IsZero() || l.records[1].Closed.IsZero() {
				t.Errorf("%s: the reporter got %d records, want both, as they were stored", name, len(l.records))
			}
		})
	}
}

func TestStepsKeepWhatWasTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		c.afterShed = func() {
			// Somebody notes what was told while the shed is being done.
			r := &c.records[shop()][0]
			c.versions++
			r.Version = "told-" + r.Version
			r.Told = map[string]rollback.Told{"slack-bot": {Lines: []string{"shed"}, Place: "C1:1.2"}}
		}
		e := newEngine(t, c, policy())
		run(t, e)
		accept(t, e, alert("rollback"))
		pass(15 * time.Minute)
		r, _ := c.record(shop(), 2)
		if r.Told["slack-bot"].Place != "C1:1.2" || !r.Verify.Succeeded() {
			t.Errorf("told %+v, %s; want both what was told and every step", r.Told, r.Summary())
		}
	})
}

func TestToldAdds(t *testing.T) {
	early := rollback.Told{Lines: []string{"shed", "held"}, Place: "C1:1", At: time.Unix(1, 0)}
	late := rollback.Told{Lines: []string{"held", "released"}, Place: "C1:2", At: time.Unix(2, 0)}
	for name, both := range map[string]rollback.Told{"late to early": early.Add(late), "early to late": late.Add(early)} {
		if len(both.Lines) != 3 || both.Place != "C1:2" || !both.At.Equal(late.At) {
			t.Errorf("%s: %+v; want every line once, and the newer place", name, both)
		}
	}
	if !slices.Equal(early.Lines, []string{"shed", "held"}) || !early.Has("held") || early.Has("released") {
		t.Errorf("what was added to has changed: %+v", early)
	}
}
