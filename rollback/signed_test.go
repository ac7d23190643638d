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
		{Number: 3, UID: "u3", Status: rollback.StatusDeployed, Deployed: now.Add(-time.Minute), Content: "c3", Chart: "shop"},
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
		Rollback: &rollback.Step{Started: now, Done: now}, Target: 1, Made: 9, Panics: 1, Version: "7",
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
