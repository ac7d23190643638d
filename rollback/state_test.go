package rollback_test

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/upcommerce/backout/rollback"
)

func TestState(t *testing.T) {
	done := func() *rollback.Step { return &rollback.Step{Started: now(), Done: now()} }
	broken := func() *rollback.Step { return &rollback.Step{Started: now(), Failed: true, Error: "no"} }
	decided := func(d rollback.Decision) []rollback.Decision { return []rollback.Decision{d} }
	act := rollback.Decision{Verdict: rollback.Act, Shed: true, Rollback: true, Target: 1}
	held := rollback.Decision{Verdict: rollback.NoTarget, Shed: true, Hold: true, People: true}
	for _, c := range []struct {
		rule  string
		r     rollback.Record
		want  rollback.State
		calls bool
	}{
		{"what is decided and not done is being acted upon", rollback.Record{Decisions: decided(act)}, rollback.StateActing, false},
		{"what is raised is watched", rollback.Record{Decisions: decided(act), Shed: done(), Rollback: done(), Raise: done()}, rollback.StateWatching, false},
		{"a rollback that waits for pods is being acted upon", rollback.Record{Decisions: decided(act), Shed: done(), Rollback: done(), Raise: &rollback.Step{Error: "1 of 2"}}, rollback.StateActing, false},
		{"the outcome is the state", rollback.Record{Decisions: decided(act), Rollback: done(), Raise: done(), Outcome: rollback.Recovered, Closed: now()}, rollback.StateRecovered, false},
		{"what did not help calls, closed or not", rollback.Record{Decisions: decided(act), Rollback: done(), Outcome: rollback.NotRecovered, Closed: now()}, rollback.StateNotRecovered, true},
		{"a rollback that failed calls, closed or not", rollback.Record{Decisions: decided(act), Shed: done(), Rollback: broken(), Closed: now()}, rollback.StateFailed, true},
		{"a shed that failed gives way to the rollback", rollback.Record{Decisions: decided(act), Shed: broken()}, rollback.StateActing, false},
		{"zero that stays is held", rollback.Record{Decisions: decided(held), Shed: done(), Hold: &rollback.Hold{Since: now()}}, rollback.StateHeld, true},
		{"a hold that is over is released", rollback.Record{Decisions: decided(held), Shed: done(), Hold: &rollback.Hold{Since: now(), Ended: now()}, Closed: now()}, rollback.StateReleased, false},
		{"what is decided again waits", rollback.Record{Decisions: decided(rollback.Decision{Verdict: rollback.Settling, Waits: true})}, rollback.StateWaiting, false},
		{"what waits after the shed waits", rollback.Record{Decisions: decided(rollback.Decision{Verdict: rollback.Busy, Shed: true, Waits: true}), Shed: done()}, rollback.StateWaiting, false},
		{"what is shed before it waits is being acted upon", rollback.Record{Decisions: decided(rollback.Decision{Verdict: rollback.Busy, Shed: true, Waits: true}), Shed: &rollback.Step{}}, rollback.StateActing, false},
		{"a storm calls while it is open", rollback.Record{Decisions: decided(rollback.Decision{Verdict: rollback.Storming, Waits: true, People: true})}, rollback.StateWaiting, true},
		{"what was only looked at is untouched", rollback.Record{Decisions: decided(rollback.Decision{Verdict: rollback.Observe}), Closed: now()}, rollback.StateUntouched, false},
		{"what backout leaves to another tool calls, closed or not", rollback.Record{Decisions: decided(rollback.Decision{Verdict: rollback.Managed, People: true}), Closed: now()}, rollback.StateUntouched, true},
		{"what moved on before it was judged says so", rollback.Record{Decisions: decided(act), Shed: done(), Rollback: done(), Raise: done(), Verify: done(), Closed: now()}, rollback.StateUnjudged, false},
	} {
		if got := c.r.State(); got != c.want || !slices.Contains(rollback.States(), got) {
			t.Errorf("%s: got %q, want %q", c.rule, got, c.want)
		}
		if got := c.r.Calls(); got != c.calls {
			t.Errorf("%s: calls a person: got %t, want %t", c.rule, got, c.calls)
		}
	}
}

func TestGroundsAreKeptFromTheFirstDecisionOn(t *testing.T) {
	c := newCluster()
	accept(t, newEngine(t, c, policy()), alert("rollback"))
	if r, _ := c.record(shop(), 2); r.Grounds == nil || len(r.Grounds.Looked) == 0 || len(r.Grounds.Candidates) != 1 {
		t.Errorf("what is stored before the webhook is answered says why: got %+v", r.Grounds)
	}
}

func TestMomentsAreInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		c.answers = []rollback.Confirmation{{Answer: rollback.AnswerFiring}, {Answer: rollback.AnswerQuiet}}
		c.traffic = 1
		e := newEngine(t, c, policy(), asking(c))
		run(t, e)
		accept(t, e, alert("rollback"))
		pass(15 * time.Minute)
		r, _ := c.record(shop(), 2)
		var got []rollback.MomentKind
		for _, m := range r.Moments() {
			got = append(got, m.What)
		}
		want := []rollback.MomentKind{
			rollback.MomentFired, rollback.MomentReceived, rollback.MomentZero, rollback.MomentRolledBack, rollback.MomentRaised, rollback.MomentJudged,
		}
		if !slices.Equal(got, want) {
			t.Errorf("a record tells its moments in order: got %v, want %v", got, want)
		}
		if _, ok := r.After(rollback.MomentZero); !ok {
			t.Error("the time to zero is known once it was reached")
		}
		if _, ok := r.After(rollback.MomentReleased); ok {
			t.Error("what did not happen has no time")
		}
		if r.Grounds == nil || len(r.Grounds.Candidates) != 1 || r.Grounds.Candidates[0].Why != "" {
			t.Errorf("the record keeps what the decision was taken on: got %+v", r.Grounds)
		}
		if !slices.ContainsFunc(r.Grounds.Looked, func(l rollback.Look) bool { return strings.HasSuffix(l.Found, "Prometheus says that it fires") }) {
			t.Errorf("the grounds are those of the last look, with what Prometheus said: got %+v", r.Grounds.Looked)
		}
	})
}
