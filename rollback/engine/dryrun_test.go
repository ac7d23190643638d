package engine_test

import (
	"strings"
	"testing"
	"time"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/engine"
	"github.com/upcommerce/backout/rollback/report"
	"github.com/upcommerce/backout/rollback/rollbacktest"
)

func TestDryRunChangesNothingAndPredictsTheDecision(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*cluster)
		level  string
		says   string
	}{
		{"act", func(*cluster) {}, "rollback", "roll back to revision 1 with Helm"},
		{"shed", func(*cluster) {}, "shed", "hold it at zero"},
		{"observe", func(*cluster) {}, "observe", "do nothing"},
		{"unconfirmed", func(c *cluster) { c.answers = answers(rollback.AnswerQuiet) }, "rollback", "do nothing"},
		{"unsafe", func(c *cluster) {
			c.preflightResult.Dangers = []rollback.Danger{{Kind: rollback.DangerPVC, What: "PersistentVolumeClaim data would be deleted"}}
		}, "rollback", "manually: backout rollback canary-demo/canary-demo --to 1 --allow pvc"},
		{"no stable pods", func(c *cluster) { c.routing.NoStable = "Service shop has no ready endpoint" }, "rollback", "roll back to revision 1 with Helm"},
		{"paused", func(c *cluster) { c.paused = "release canary-demo/canary-demo is paused: freeze" }, "rollback", "do nothing"},
		{"no target", func(c *cluster) { c.history[rollbacktest.Shop()] = c.history[rollbacktest.Shop()][:1] }, "rollback", "helm history canary-demo -n canary-demo"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			firing := func(c *cluster) { c.answers = answers(rollback.AnswerFiring) }
			simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
				results, err := e.DryRun(t.Context(), []rollback.Alert{alert(tc.level)})
				if err != nil || len(results) != 1 {
					t.Fatalf("want one result for one release: got %v, %v", results, err)
				}
				if _, stored := c.record(rollbacktest.Shop(), 2); stored || c.rollbacks > 0 || len(c.weightsWritten) > 0 {
					t.Error("the dry run stored or changed something")
				}
				if text := report.DryRun(results[0]); !strings.Contains(text, tc.says) {
					t.Errorf("the dry run does not say %q:\n%s", tc.says, text)
				}
				deliver(t, e, alert(tc.level))
				wait(time.Minute)
				r, ok := c.record(rollbacktest.Shop(), 2)
				if !ok {
					t.Fatal("the alert led to no record")
				}
				got, want := r.Decision(), results[0].Record.Decision()
				if got.Verdict != want.Verdict || got.Target != want.Target || got.Shed != want.Shed || got.Rollback != want.Rollback || got.Hold != want.Hold {
					t.Errorf("the alert led to %+v, the dry run predicted %+v", got, want)
				}
			}, firing, tc.change)
		})
	}
}

func TestDryRunReportsRefusals(t *testing.T) {
	c := newCluster()
	e := newEngine(t, c, rollbacktest.Policy())
	elsewhere, unknown, unlabelled := alert("rollback"), alert("rollback"), alert("rollback")
	elsewhere.Labels["namespace"] = "elsewhere"
	unknown.Labels["release"] = "gone"
	delete(unlabelled.Labels, "backout")
	unlabelled.Route = "everything"
	watchdog := rollback.Alert{Labels: map[string]string{"alertname": "BackoutWatchdog", "backout": "watchdog", "namespace": "canary-demo"}, Route: "backout"}
	results, err := e.DryRun(t.Context(), []rollback.Alert{elsewhere, unknown, unlabelled, watchdog})
	if err != nil || len(results) != 4 {
		t.Fatalf("want a result for every refusal: got %v, %v", results, err)
	}
	for i, want := range []struct {
		verdict rollback.Verdict
		says    string
	}{
		{rollback.NotAllowed, "add elsewhere/canary-demo to BACKOUT_RELEASES"},
		{rollback.NotAllowed, `of receiver everything has no backout label, and backout ignores it; give its rule the label, or keep it away`},
		{rollback.NotAllowed, "the alert BackoutWatchdog of receiver backout is a watchdog: backout counts it"},
		{rollback.UnknownRelease, "no such Helm release"},
	} {
		if d := results[i].Record.Decision(); d.Verdict != want.verdict || !strings.Contains(d.Reason, want.says) {
			t.Errorf("want %s because of %q: got %+v", want.verdict, want.says, d)
		}
	}
}

func TestDryRunAfterARollbackPredictsNoOther(t *testing.T) {
	simulate(t, func(t *testing.T, _ *cluster, e *engine.Engine) {
		deliver(t, e, alert("rollback"))
		wait(time.Minute)
		results, err := e.DryRun(t.Context(), []rollback.Alert{alert("rollback")})
		if err != nil || len(results) != 1 {
			t.Fatalf("got %v, %v", results, err)
		}
		if result := results[0]; result.Record.Decision().Rollback || result.Record.Revision != 3 || len(result.Assumed) != 1 {
			t.Errorf("want the newest revision, which backout made, left alone, and the alert assumed to fire for want of a Prometheus: got %s", report.DryRun(result))
		}
	})
}
