package engine

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/upcommerce/backout/rollback"
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
