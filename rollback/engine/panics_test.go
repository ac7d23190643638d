package engine

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/parallel"
	"github.com/upcommerce/backout/rollback/report"
)

// oneRecord is a ledger with one record. It has no other methods.
type oneRecord struct {
	rollback.Ledger

	record rollback.Record
}

func (l *oneRecord) Record(context.Context, rollback.Key, int) (rollback.Record, bool, error) {
	return l.record, true, nil
}

func (l *oneRecord) Save(_ context.Context, r rollback.Record) (rollback.Record, error) {
	l.record = r
	return r, nil
}

// damaged is a case that no code makes: the history of a release has a revision.
var damaged rollback.Case

func panicking(t *testing.T) (*executor, *oneRecord) {
	t.Helper()
	l := &oneRecord{record: rollback.Record{Key: rollback.Key{Namespace: "shop", Release: "web"}, Revision: 7, UID: "uid-7", Opened: time.Now()}}
	return &executor{ledger: l, log: slog.New(slog.DiscardHandler)}, l
}

// setAside checks that the record waits for an operator.
func setAside(t *testing.T, r rollback.Record) {
	t.Helper()
	if !r.SetAside() || !report.NeedsHelp(&r) || !r.Closed.IsZero() || !strings.Contains(r.Decision().Reason, "index out of range") {
		t.Errorf("panics %d, closed %s, decision %+v; want the record set aside with the reason, and help asked for", r.Panics, r.Closed, r.Decision())
	}
}

func TestARecordOverWhichTheDecisionPanicsIsSetAside(t *testing.T) {
	x, l := panicking(t)
	x.contain(t.Context(), l.record, func() { decideWith(&rollback.Record{}, damaged, inputs{}, time.Now()) })
	setAside(t, l.record)
}

func TestAnAlertOverWhichTheDecisionPanicsIsStored(t *testing.T) {
	r := rollback.Record{Key: rollback.Key{Namespace: "shop", Release: "web"}, Revision: 7, UID: "uid-7"}
	x, _ := panicking(t)
	var log bytes.Buffer
	x.log = slog.New(slog.NewTextHandler(&log, nil))
	decided, err := x.decide(t.Context(), &r, damaged)
	if !decided || err != nil {
		t.Errorf("decided %t, %v; want the record stored", decided, err)
	}
	setAside(t, r)
	if !strings.Contains(log.String(), "index out of range") || !strings.Contains(log.String(), "decide.go") {
		t.Errorf("the log has the cause and the stack: got %s", &log)
	}
	if again, err := x.decide(t.Context(), &r, damaged); again || err != nil {
		t.Errorf("decided %t, %v again; want nothing decided about a record that is set aside", again, err)
	}
}

// The questions about an alert that come before it is stored panic over the same case as the
// decision.
func TestAnAlertOverWhichTheStormPanicsIsStillDecided(t *testing.T) {
	x, _ := panicking(t)
	b := batch{key: rollback.Key{Namespace: "shop", Release: "web"}, signals: []rollback.Signal{{Alert: "A", Level: rollback.LevelShed}}}
	if x.countForStorm(b) {
		t.Error("a case over which the decision panics counts for no storm")
	}
}

// defectivePrometheus panics, also over questions that are asked in other goroutines.
type defectivePrometheus struct{ rollback.Prometheus }

func (defectivePrometheus) Firing(context.Context, rollback.Key, rollback.Signal, time.Time) rollback.Confirmation {
	return []rollback.Confirmation{}[0] // index out of range
}

// aSignal is about the record, and Prometheus was not asked about it.
func aSignal() rollback.Signal {
	return rollback.Signal{Alert: "A", Level: rollback.LevelShed, Fingerprint: "f", Received: time.Now(), StartsAt: time.Now()}
}

// panicsTwice takes a step twice, and checks that it panics, with one line in the log that has
// the stack of the goroutine in which it does.
func panicsTwice(t *testing.T, x *executor, step func()) {
	t.Helper()
	for range 2 {
		var log bytes.Buffer
		x.log = slog.New(slog.NewTextHandler(&log, nil))
		if p := parallel.Try(step); p == nil {
			t.Error("the panic of a step ends the process: it was swallowed")
		}
		if got := log.String(); strings.Count(got, "msg=panic ") != 1 || strings.Count(got, "defectivePrometheus.Firing(") != 1 {
			t.Errorf("the log has the stack once: got %s", got)
		}
	}
}

func TestAPanicInAGoroutineOfAStepIsCountedInItsRecord(t *testing.T) {
	x, l := panicking(t)
	x.prometheus = defectivePrometheus{}
	l.record.AddSignal(aSignal())
	panicsTwice(t, x, func() {
		x.contain(t.Context(), l.record, func() {
			x.queryPrometheus(t.Context(), l.record, rollback.Case{Signals: l.record.Signals, Now: time.Now()})
		})
	})
	setAside(t, l.record)
}

func TestAPanicWhileAShedIsPreparedIsCountedInItsRecord(t *testing.T) {
	x, l := panicking(t)
	x.prometheus = defectivePrometheus{}
	l.record.AddSignal(aSignal())
	f := newFastPath(x)
	panicsTwice(t, x, func() {
		c := rollback.Case{
			Key: l.record.Key, Signals: l.record.Signals, Now: time.Now(),
			History: rollback.History{{Number: 7, UID: "uid-7", Status: rollback.StatusDeployed, Deployed: time.Now()}},
		}
		p := f.prepare(t.Context(), l.record, c, false)
		p.stored <- l.record
		f.run(t.Context(), l.record.Key)
	})
	setAside(t, l.record)
}

func TestAStepThatPanicsEndsTheProcessAndAtTheSecondTimeSetsItsRecordAside(t *testing.T) {
	x, l := panicking(t)
	for i := range 2 {
		if i == 1 && l.record.SetAside() {
			t.Error("the record is set aside after one panic: the process may have had a bad moment")
		}
		func() {
			defer func() {
				if recover() == nil {
					t.Error("the panic of a step was swallowed: what it left behind is not known")
				}
			}()
			x.contain(t.Context(), l.record, func() { _ = []int{}[len(l.record.Decisions)] })
		}()
	}
	setAside(t, l.record)
}

// The leader compares the marks of every release at each sweep, whether or not there is a record.
func TestAPanicOverTheMarksOfAReleaseStopsNoOther(t *testing.T) {
	x, _ := panicking(t) // its ledger panics when it is asked for all records of a release
	var log bytes.Buffer
	x.log = slog.New(slog.NewTextHandler(&log, nil))
	held := func(release string) rollback.GuardedRelease {
		return rollback.GuardedRelease{
			Key: rollback.Key{Namespace: "shop", Release: release}, Routes: []rollback.RouteShare{{Route: "Ingress/" + release, Held: true}},
		}
	}
	l := leftovers{guarded: map[string][]rollback.GuardedRelease{"shop": {held("api"), held("web")}}, searched: map[string]bool{"shop": true}}
	l.compare(t.Context(), x)
	for _, release := range []string{"api", "web"} {
		if got := log.String(); strings.Count(got, "namespace=shop release="+release+" error=\"panic: ") != 1 {
			t.Errorf("the log does not have the panic over release %s: %s", release, got)
		}
	}
}
