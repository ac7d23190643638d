package rollback_test

import (
	"testing"
	"time"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/rollbacktest"
)

// A record that backout has not signed can take the target away. It cannot replace it by an older one.
func TestAnUnsignedRecordChoosesNoTarget(t *testing.T) {
	now := rollbacktest.Now()
	history := rollback.History{
		{Number: 3, UID: "u3", Status: rollback.StatusDeployed, Deployed: now.Add(-10 * time.Minute), Content: "c3", Chart: "shop"},
		{Number: 2, UID: "u2", Status: rollback.StatusSuperseded, Deployed: now.Add(-time.Hour), Content: "c2", Chart: "shop"},
		{Number: 1, UID: "u1", Status: rollback.StatusSuperseded, Deployed: now.Add(-2 * time.Hour), Content: "c1", Chart: "shop"},
	}
	bad := rollback.Record{
		Key: rollbacktest.Shop(), Revision: 2, UID: "u2", Content: "c2", Opened: now.Add(-time.Hour), Closed: now.Add(-50 * time.Minute),
		Rollback: &rollback.Step{Started: now.Add(-time.Hour), Failed: true},
	}
	decide := func(r rollback.Record) rollback.Decision {
		return rollback.Decide(rollback.Case{
			Key: rollbacktest.Shop(), History: history, Records: []rollback.Record{r}, Policy: rollbacktest.Policy(), Now: now,
			Signals: []rollback.Signal{{Alert: "A", Level: rollback.LevelRollback, Fingerprint: "f", StartsAt: now.Add(-time.Second), Received: now, LastSeen: now}},
		})
	}
	if d := decide(bad); d.Target != 1 {
		t.Errorf("%+v; want revision 1: backout itself says that the content of revision 2 is bad", d)
	}
	bad.Unsigned = true
	if d := decide(bad); d.Rollback || d.Verdict != rollback.NoTarget {
		t.Errorf("%+v; want no target: only an unsigned record says that the content of revision 2 is bad", d)
	}
}

func TestAnUnsignedShedBecomesAHold(t *testing.T) {
	now := rollbacktest.Now()
	none := func(rollback.Part) bool { return false }
	r := rollback.Record{
		Key: rollbacktest.Shop(), Revision: 2, UID: "u2", Opened: now, Shed: &rollback.Step{Started: now, Done: now},
		Weights: []rollback.Weight{{Kind: "Ingress", Name: "shop", From: "20", To: "0"}},
	}
	closed := r
	closed.Closed = now
	if r.KeepSigned(none); !r.Hold.Active() || r.Shed != nil {
		t.Errorf("hold %+v, shed %+v; want the weight, which may be zero, held", r.Hold, r.Shed)
	}
	if closed.KeepSigned(none); closed.Hold != nil || closed.Shed != nil {
		t.Errorf("hold %+v, shed %+v of a closed record; want neither", closed.Hold, closed.Shed)
	}
}

func TestAnUnsignedRecordIsAdoptedWithoutWhatItSays(t *testing.T) {
	now := rollbacktest.Now()
	r := rollback.Record{
		Key: rollbacktest.Shop(), Revision: 9, UID: "forged", Content: "forged", Opened: now.Add(time.Hour), Closed: now,
		Signals:  []rollback.Signal{{Alert: "A", Level: rollback.LevelRollback}},
		Rollback: &rollback.Step{Started: now, Done: now}, Target: 1, Made: 9, Panics: 1, Version: "7", Signatures: []string{"x:y"},
		Hold: &rollback.Hold{Since: now, Ended: now, Lifted: true},
	}
	r.KeepSigned(func(rollback.Part) bool { return false })
	r.Adopt(rollback.Revision{Number: 2, UID: "u2", Content: "c2"}, now)
	if r.Revision != 2 || r.UID != "u2" || r.Content != "c2" || !r.Opened.Equal(now) || len(r.Signals) != 0 || r.Rollback != nil || r.Unsigned {
		t.Errorf("%+v; want a record about the suspect with nothing of what was not signed", r)
	}
	if r.Version != "7" || r.Hold == nil || len(r.Ignored) == 0 {
		t.Errorf("%+v; want the operator's hold, the note of what was ignored, and the version to replace", r)
	}
}

// A record that a version before has closed, which signed nothing.
func TestAClosedRecordWithoutSignaturesStaysWhatItShows(t *testing.T) {
	now := rollbacktest.Now()
	r := rollback.Record{
		Key: rollbacktest.Shop(), Revision: 2, UID: "u2", Content: "c2", Opened: now, Closed: now.Add(time.Minute),
		Signals:   []rollback.Signal{{Alert: "A", Level: rollback.LevelRollback}},
		Decisions: []rollback.Decision{{Verdict: rollback.Act, Reason: "text", Rollback: true, Target: 1, At: now}},
		Rollback:  &rollback.Step{Started: now, Error: "text", Failed: true}, Target: 1,
		Notified: map[string]rollback.Notified{"slack": {Entries: []string{"a"}, MessageID: "C1:1"}},
	}
	if removed := r.KeepSigned(func(rollback.Part) bool { return false }); len(removed) != 0 || len(r.Ignored) != 0 {
		t.Errorf("removed %q, ignored %q; want silence about what no version has signed", removed, r.Ignored)
	}
	if r.Rollback == nil || r.Rollback.Failed || r.Rollback.Error != "" || !rollback.KnownBad([]rollback.Record{r})["c2"] {
		t.Errorf("rollback %+v; want its content known bad, without a failure or a text", r.Rollback)
	}
	if d := r.Decision(); d.Verdict != rollback.Act || d.Rollback || d.Target != 0 || len(r.Signals) != 0 {
		t.Errorf("decision %+v, %d signals; want the verdict alone", d, len(r.Signals))
	}
	if n := r.Notified["slack"]; n.MessageID != "" || len(n.Entries) != 1 {
		t.Errorf("notified %+v; want nothing sent again, and no message that a record names", n)
	}
	if parts := r.Parts(); len(parts) != 0 {
		t.Errorf("%d parts would be signed, want none", len(parts))
	}
}

// An operator's shed in a record proves nothing, and so does not spare the check that another backend could take over.
func TestAnOrderDoesNotSpareTheCheckOfStablePods(t *testing.T) {
	now := rollbacktest.Now()
	history := rollback.History{{Number: 2, UID: "u2", Status: rollback.StatusDeployed, Deployed: now.Add(-time.Minute), Content: "c2", Chart: "shop"}}
	r := rollback.Record{
		Key: rollbacktest.Shop(), Revision: 2, UID: "u2", Opened: now, Shed: &rollback.Step{Operator: "ann", Started: now, Done: now},
		Signals: []rollback.Signal{{Alert: "A", Level: rollback.LevelShed, Fingerprint: "f", StartsAt: now.Add(-time.Second), Received: now, LastSeen: now}},
	}
	decide := func(r rollback.Record) rollback.Decision {
		return rollback.Decide(rollback.Case{
			Key: rollbacktest.Shop(), History: history, Records: []rollback.Record{r}, Signals: r.Signals, Policy: rollbacktest.Policy(), Now: now,
			Routing: &rollback.Routing{Weights: []rollback.Weight{{Kind: "Ingress", Name: "shop", From: "100", To: "100"}}, NoStable: "no other backend is ready"},
		})
	}
	if d := decide(r); d.Verdict != rollback.NoStable || d.Shed {
		t.Errorf("%+v; want the weight left alone", d)
	}
	r.Shed.Operator = ""
	if d := decide(r); !d.Shed {
		t.Errorf("%+v; want backout's own shed, which was checked then, kept", d)
	}
}
