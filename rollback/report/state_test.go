package report_test

import (
	"slices"
	"testing"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/report"
	"github.com/upcommerce/backout/rollback/rollbacktest"
)

func TestState(t *testing.T) {
	now := rollbacktest.Now()
	done := func() *rollback.Step { return &rollback.Step{Started: now, Done: now} }
	failed := func() *rollback.Step { return &rollback.Step{Started: now, Failed: true, Error: "no"} }
	failing := func(attempts int) *rollback.Step {
		return &rollback.Step{Started: now, Attempts: attempts, Error: "no"}
	}
	decided := func(d rollback.Decision) []rollback.Decision { return []rollback.Decision{d} }
	act := decided(rollback.Decision{Verdict: rollback.Act, Shed: true, Rollback: true, Target: 1})
	held := decided(rollback.Decision{Verdict: rollback.NoTarget, Shed: true, Hold: true, NeedsHelp: true})
	busy := decided(rollback.Decision{Verdict: rollback.Busy, Shed: true, Waits: true})
	weights := []rollback.Weight{{Kind: "Ingress", Name: "web", From: "20", To: "0"}}
	for _, c := range []struct {
		rule      string
		r         rollback.Record
		want      report.State
		needsHelp bool
	}{
		{"decided, and not done: acting", rollback.Record{Decisions: act}, report.StateActing, false},
		{"restored, and the outcome is not known: verifying", rollback.Record{Decisions: act, Shed: done(), Rollback: done(), Restore: done()}, report.StateVerifying, false},
		{"rolled back, and waiting for pods: verifying", rollback.Record{Decisions: act, Shed: done(), Rollback: done(), Restore: failing(0)}, report.StateVerifying, false},
		{"the outcome is the state", rollback.Record{Decisions: act, Rollback: done(), Restore: done(), Outcome: rollback.OutcomeRecovered, Closed: now}, report.StateRecovered, false},
		{"an outcome without traffic is the state", rollback.Record{Decisions: act, Rollback: done(), Restore: done(), Outcome: rollback.OutcomeRestored, Closed: now}, report.StateRestored, false},
		{"a rollback that did not help needs help, closed or not", rollback.Record{Decisions: act, Rollback: done(), Outcome: rollback.OutcomeNotRecovered, Closed: now}, report.StateNotRecovered, true},
		{"a rollback that failed needs help, closed or not", rollback.Record{Decisions: act, Shed: done(), Rollback: failed(), Closed: now}, report.StateFailed, true},
		{"a restore that failed needs help", rollback.Record{Decisions: act, Shed: done(), Rollback: done(), Restore: failed(), Closed: now}, report.StateFailed, true},
		{"a shed that was given up leaves the canary its traffic until the rollback is done: stuck", rollback.Record{Decisions: act, Shed: failed()}, report.StateStuck, true},
		{"after the rollback a shed that was given up no longer counts", rollback.Record{Decisions: act, Shed: failed(), Rollback: done()}, report.StateVerifying, false},
		{"a shed that failed four times and is retried: acting", rollback.Record{Decisions: act, Shed: failing(4)}, report.StateActing, false},
		{"a shed that failed five times and is retried: stuck", rollback.Record{Decisions: act, Shed: failing(5)}, report.StateStuck, true},
		{"a preflight that keeps failing: stuck", rollback.Record{Decisions: act, Shed: done(), Preflight: failing(5)}, report.StateStuck, true},
		{"a preflight for a rollback that is not due any more does not count", rollback.Record{Decisions: held, Shed: done(), Weights: weights, Preflight: failing(5), Hold: &rollback.Hold{Since: now}}, report.StateHeld, true},
		{"a rollback that keeps failing: stuck", rollback.Record{Decisions: act, Shed: done(), Rollback: failing(5)}, report.StateStuck, true},
		{"a restore that keeps failing: stuck", rollback.Record{Decisions: act, Shed: done(), Rollback: done(), Restore: failing(5)}, report.StateStuck, true},
		{"a closed record is not stuck", rollback.Record{Decisions: act, Shed: failing(5), Closed: now}, report.StateNoAction, false},
		{"zero that stays: held", rollback.Record{Decisions: held, Shed: done(), Hold: &rollback.Hold{Since: now}}, report.StateHeld, true},
		{"a hold that the signal asked for needs no help", rollback.Record{Decisions: decided(rollback.Decision{Verdict: rollback.Act, Shed: true, Hold: true}), Shed: done(), Hold: &rollback.Hold{Since: now}}, report.StateHeld, false},
		{"a hold that is over", rollback.Record{Decisions: held, Shed: done(), Hold: &rollback.Hold{Since: now, Ended: now}, Closed: now}, report.StateHoldEnded, false},
		{"Prometheus denied the alert, and the weight is restored", rollback.Record{Decisions: decided(rollback.Decision{Verdict: rollback.Unconfirmed}), Hold: &rollback.Hold{Since: now, Ended: now}, Closed: now}, report.StateShedUndone, false},
		{"decided again later: waiting", rollback.Record{Decisions: decided(rollback.Decision{Verdict: rollback.Settling, Waits: true})}, report.StateWaiting, false},
		{"shed, and decided again later: the rollback waits", rollback.Record{Decisions: busy, Shed: done()}, report.StateAwaitingRollback, false},
		{"a shed before the wait: acting", rollback.Record{Decisions: busy, Shed: &rollback.Step{}}, report.StateActing, false},
		{"a storm needs help while it is open", rollback.Record{Decisions: decided(rollback.Decision{Verdict: rollback.Storming, Waits: true, NeedsHelp: true})}, report.StateStorm, true},
		{"a pause needs help: backout will not act by itself", rollback.Record{Decisions: decided(rollback.Decision{Verdict: rollback.Paused}), Closed: now}, report.StatePaused, true},
		{"observed only", rollback.Record{Decisions: decided(rollback.Decision{Verdict: rollback.Observe}), Closed: now}, report.StateObserved, false},
		{"nothing done, and nothing to do", rollback.Record{Decisions: decided(rollback.Decision{Verdict: rollback.Stale}), Closed: now}, report.StateNoAction, false},
		{"a release that backout leaves to another tool needs help, closed or not", rollback.Record{Decisions: decided(rollback.Decision{Verdict: rollback.Managed, NeedsHelp: true}), Closed: now}, report.StateNeedsHelp, true},
		{"a release without a canary to hold needs help", rollback.Record{Decisions: held, Shed: done(), Closed: now}, report.StateNeedsHelp, true},
		{"the release moved on before the outcome was known", rollback.Record{Decisions: act, Shed: done(), Rollback: done(), Restore: done(), Verify: done(), Closed: now}, report.StateUnverified, false},
	} {
		if got := report.StateOf(&c.r); got != c.want || !slices.Contains(report.States(), got) {
			t.Errorf("%s: got %q, want %q", c.rule, got, c.want)
		}
		if got := report.NeedsHelp(&c.r); got != c.needsHelp {
			t.Errorf("%s: needs help: got %t, want %t", c.rule, got, c.needsHelp)
		}
	}
}
