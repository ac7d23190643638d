package rollback_test

import (
	"testing"
	"time"

	"github.com/upcommerce/backout/rollback"
)

func stormed(at time.Time) rollback.Decision {
	return rollback.Decision{Verdict: rollback.Storming, At: at, Waits: true}
}

// A second storm has a queue of its own: what the first one has shown says nothing about it.
func TestTheStormOfARecordIsItsLast(t *testing.T) {
	nine := time.Date(2026, 11, 27, 9, 0, 0, 0, time.UTC)
	r := rollback.Record{Decisions: []rollback.Decision{
		stormed(nine), stormed(nine.Add(time.Minute)),
		{Verdict: rollback.Stale, At: nine.Add(20 * time.Minute)},
		stormed(nine.Add(3 * time.Hour)), stormed(nine.Add(3*time.Hour + time.Minute)),
	}}
	if since, was := r.WasInStorm(); !was || !since.Equal(nine.Add(3*time.Hour)) {
		t.Errorf("in a storm %t since %s, want since 12:00", was, since)
	}
}

// A release with which backout does not go on takes no turn: the others would wait for ever.
func TestNoReleaseOfAStormWaitsForOneThatIsStuck(t *testing.T) {
	now := time.Date(2026, 11, 27, 9, 0, 0, 0, time.UTC)
	for name, change := range map[string]func(*rollback.Record){
		"an operator's claim": func(r *rollback.Record) { r.Manual = &rollback.ManualRollback{Started: now, Progress: now} },
		"set aside":           func(r *rollback.Record) { r.Panics = 2 },
		"an obstacle":         func(r *rollback.Record) { r.Obstacle = &rollback.Step{Started: now, Error: "forbidden"} },
	} {
		r := rollback.Record{Decisions: []rollback.Decision{stormed(now)}}
		if _, waits := rollback.StormStepOf(&r); !waits {
			t.Fatal("a release of a storm waits for its turn")
		}
		change(&r)
		if _, waits := rollback.StormStepOf(&r); waits {
			t.Errorf("%s: the release is first in the queue, and backout does not go on with it", name)
		}
	}
}

// A digest that a version before has computed in another way is still that of its revision.
func TestKnownBadContentSurvivesAnotherDigest(t *testing.T) {
	now := time.Now()
	h := rollback.History{
		{Number: 5, UID: "5", Status: rollback.StatusDeployed, Content: "new-c5", Deployed: now.Add(-time.Minute)},
		{Number: 4, UID: "4", Status: rollback.StatusSuperseded, Content: "new-c4", Deployed: now.Add(-time.Hour)},
	}
	r := rollback.Record{Revision: 4, UID: "4", Content: "old-c4"}
	if got := r.ContentIn(h); got != "new-c4" {
		t.Errorf("the content is %q, want that of the history", got)
	}
	r.UID = "another life"
	if got := r.ContentIn(h); got != "old-c4" {
		t.Errorf("the content is %q, want the record's own: revision 4 is another one", got)
	}
}
