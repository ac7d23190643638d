package rollback_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/rollbacktest"
)

func TestARecordKeepsTheFirstAndTheNewestDecisions(t *testing.T) {
	var record rollback.Record
	if got := record.Decision(); got != (rollback.Decision{}) {
		t.Errorf("a new record has no decision: got %+v", got)
	}
	first := rollback.Decision{Verdict: rollback.Settling, Reason: "too young", At: rollbacktest.Now()}
	if !record.Decide(first) {
		t.Error("the first decision is new")
	}
	repeated := first
	repeated.At = rollbacktest.Now().Add(time.Minute)
	if record.Decide(repeated) || len(record.Decisions) != 1 {
		t.Error("the same decision at another time is not new")
	}
	for i := range 1000 {
		record.Decide(rollback.Decision{Verdict: rollback.Busy, Reason: fmt.Sprint(i), At: rollbacktest.Now()})
	}
	if len(record.Decisions) != 20 {
		t.Errorf("a record keeps 20 decisions: got %d", len(record.Decisions))
	}
	if got := record.Decisions[0].Verdict; got != rollback.Settling {
		t.Errorf("the first decision is kept: got %s", got)
	}
	if got := record.Decision().Reason; got != "999" {
		t.Errorf("the newest decision is in force: got %s", got)
	}
}

// TestADecisionIsTheSameAfterItWasStored: Helm writes times in the zone of the client that
// deployed, and a time read from text has a zone value of its own.
func TestADecisionIsTheSameAfterItWasStored(t *testing.T) {
	decision := rollback.Decision{
		Verdict: rollback.Settling, Reason: "too young", At: rollbacktest.Now(),
		RecheckAt: rollbacktest.Now().Add(time.Minute).In(time.FixedZone("", 5*60*60+30*60)),
	}
	text, err := yaml.Marshal(decision)
	if err != nil {
		t.Fatal(err)
	}
	var stored rollback.Decision
	if err := yaml.Unmarshal(text, &stored); err != nil {
		t.Fatal(err)
	}
	if !decision.Same(stored) {
		t.Errorf("a decision is the same after it was stored: %+v and %+v", decision, stored)
	}
	stored.RecheckAt = stored.RecheckAt.Add(time.Second)
	if decision.Same(stored) {
		t.Error("a decision that waits longer is a different one")
	}
}

func TestContentIsKnownBadOnceItsRollbackBegan(t *testing.T) {
	started := &rollback.Step{Started: rollbacktest.Now()}
	got := rollback.KnownBad([]rollback.Record{
		{Content: "rolled back", Rollback: &rollback.Step{Started: rollbacktest.Now(), Done: rollbacktest.Now()}},
		{Content: "started", Rollback: started},
		{Content: "failed", Rollback: &rollback.Step{Started: rollbacktest.Now(), Failed: true}},
		{Content: "only shed", Shed: started},
		{Content: "only observed"},
		{Content: "held", Shed: started, Hold: &rollback.Hold{Since: rollbacktest.Now()}},
		{Content: "hold ended by other content", Shed: started, Hold: &rollback.Hold{Since: rollbacktest.Now(), Ended: rollbacktest.Now()}},
		{Content: "hold lifted by an operator", Shed: started, Hold: &rollback.Hold{Since: rollbacktest.Now(), Ended: rollbacktest.Now(), Lifted: true}},
		{Content: "shed undone", Hold: &rollback.Hold{Since: rollbacktest.Now(), Ended: rollbacktest.Now()}},
		{Content: "", Rollback: started},
		{Content: "denied", Shed: started, Hold: &rollback.Hold{Since: rollbacktest.Now()}, Signals: []rollback.Signal{
			{Level: rollback.LevelShed, Confirmation: &rollback.Confirmation{Answer: rollback.AnswerQuiet}},
			{Level: rollback.LevelRollback, Confirmation: &rollback.Confirmation{Answer: rollback.AnswerFiring, Level: rollback.LevelObserve}},
			{Level: rollback.LevelObserve},
		}},
		{Content: "denied, and held by an operator", Hold: &rollback.Hold{Since: rollbacktest.Now()}, Signals: []rollback.Signal{
			{Level: rollback.LevelShed, Confirmation: &rollback.Confirmation{Answer: rollback.AnswerQuiet}}, {Level: rollback.LevelShed, Operator: "ada"},
		}},
	})
	want := map[string]bool{"rolled back": true, "started": true, "failed": true, "held": true, "hold ended by other content": true, "denied, and held by an operator": true}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("content is known bad once its rollback was started, or while it was held and no operator or denial ended that (-want +got):\n%s", diff)
	}
}

func TestAStepIsFinishedWhenItIsDoneOrGivenUp(t *testing.T) {
	for _, c := range []struct {
		step                *rollback.Step
		finished, succeeded bool
		name                string
	}{
		{nil, false, false, "a step that was never started"},
		{&rollback.Step{Started: rollbacktest.Now()}, false, false, "a step that was started"},
		{&rollback.Step{Started: rollbacktest.Now(), Attempts: 2, Error: "busy"}, false, false, "a step that is tried again"},
		{&rollback.Step{Started: rollbacktest.Now(), Done: rollbacktest.Now()}, true, true, "a step that is done"},
		{&rollback.Step{Started: rollbacktest.Now(), Failed: true}, true, false, "a step that was given up"},
	} {
		if c.step.Finished() != c.finished || c.step.Succeeded() != c.succeeded {
			t.Errorf("%s: finished %t, succeeded %t", c.name, c.step.Finished(), c.step.Succeeded())
		}
	}
}

// TestAReducedRecordKeepsTheDecisionInForce: a new decision is compared with it.
func TestAReducedRecordKeepsTheDecisionInForce(t *testing.T) {
	long := strings.Repeat("x", 1000)
	r := rollback.Record{
		Decisions: []rollback.Decision{{Verdict: rollback.Busy, Reason: long}, {Verdict: rollback.Act, Reason: long}},
		Shed:      &rollback.Step{Error: long},
	}
	reduced := r.Reduced(rollback.Reductions)
	if reduced.Decision().Reason != long || len(reduced.Decisions[0].Reason) > 200 || len(reduced.Shed.Error) > 200 {
		t.Errorf("texts of other decisions and of steps are shortened: got %+v", reduced)
	}
	if r.Decisions[0].Reason != long || r.Shed.Error != long {
		t.Error("the record itself stays as it is")
	}
}
