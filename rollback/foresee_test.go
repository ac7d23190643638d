package rollback_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/upcommerce/backout/rollback"
)

// TestForeseeIsWhatHappens: a forecast touches nothing, and the alert then leads to
// what was foreseen.
func TestForeseeIsWhatHappens(t *testing.T) {
	for _, c := range []struct {
		name    string
		prepare func(*cluster)
		level   string
		says    string
	}{
		{"act", func(*cluster) {}, "rollback", "have Helm go back to revision 1"},
		{"shed", func(*cluster) {}, "shed", "hold it there"},
		{"observe", func(*cluster) {}, "observe", "do nothing"},
		{"denied", func(c *cluster) { c.answers = []rollback.Confirmation{{Answer: rollback.AnswerQuiet}} }, "rollback", "do nothing"},
		{"unsafe", func(c *cluster) {
			c.outlook.Dangers = []rollback.Danger{{Kind: rollback.DangerPVC, What: "PersistentVolumeClaim data would be deleted"}}
		}, "rollback", "by hand: helm rollback canary-demo 1 -n canary-demo"},
		{"no stable pods", func(c *cluster) { c.routing.NoStable = "Service shop has no ready endpoint" }, "rollback", "have Helm go back to revision 1"},
		{"paused", func(c *cluster) { c.paused = "release canary-demo/canary-demo is paused: freeze" }, "rollback", "do nothing"},
		{"no target", func(c *cluster) { c.history[shop()] = c.history[shop()][:1] }, "rollback", "helm history canary-demo -n canary-demo"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cl := newCluster()
				cl.answers = []rollback.Confirmation{{Answer: rollback.AnswerFiring}}
				c.prepare(cl)
				e := newEngine(t, cl, policy(), asking(cl))
				forecasts, err := e.Foresee(t.Context(), []rollback.Alert{alert(c.level)})
				if err != nil || len(forecasts) != 1 {
					t.Fatalf("one release, one forecast: got %v, %v", forecasts, err)
				}
				if _, stored := cl.record(shop(), 2); stored || cl.rollbacks > 0 || len(cl.raised) > 0 {
					t.Error("a forecast stores nothing and touches nothing")
				}
				f := forecasts[0]
				if text := f.String(); !strings.Contains(text, c.says) {
					t.Errorf("the forecast says %q:\n%s", c.says, text)
				}
				run(t, e)
				accept(t, e, alert(c.level))
				pass(time.Minute)
				r, ok := cl.record(shop(), 2)
				if !ok {
					t.Fatal("the alert led to no record")
				}
				got, want := r.Decision(), f.Record.Decision()
				if got.Verdict != want.Verdict || got.Target != want.Target || got.Shed != want.Shed || got.Rollback != want.Rollback || got.Hold != want.Hold {
					t.Errorf("what was foreseen happens: foreseen %+v, decided %+v", want, got)
				}
			})
		})
	}
}

func TestForeseeRefusals(t *testing.T) {
	c := newCluster()
	e := newEngine(t, c, policy())
	other, gone, foreign := alert("rollback"), alert("rollback"), alert("rollback")
	other.Labels["namespace"] = "elsewhere"
	gone.Labels["release"] = "gone"
	delete(foreign.Labels, "backout")
	forecasts, err := e.Foresee(t.Context(), []rollback.Alert{other, gone, foreign})
	if err != nil || len(forecasts) != 3 {
		t.Fatalf("every refusal is foreseen: got %v, %v", forecasts, err)
	}
	for i, want := range []struct {
		verdict rollback.Verdict
		says    string
	}{
		{rollback.NotAllowed, "add elsewhere/canary-demo to BACKOUT_RELEASES"},
		{rollback.NotAllowed, "no backout label"},
		{rollback.UnknownRelease, "no such Helm release"},
	} {
		if d := forecasts[i].Record.Decision(); d.Verdict != want.verdict || !strings.Contains(d.Reason, want.says) {
			t.Errorf("refused as %s because of %q: got %+v", want.verdict, want.says, d)
		}
	}
}

// TestForeseeAfterTheRollback: who asks again is told that it was done.
func TestForeseeAfterTheRollback(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		e := newEngine(t, c, policy())
		run(t, e)
		accept(t, e, alert("rollback"))
		pass(time.Minute)
		forecasts, err := e.Foresee(t.Context(), []rollback.Alert{alert("rollback")})
		if err != nil || len(forecasts) != 1 {
			t.Fatalf("got %v, %v", forecasts, err)
		}
		if f := forecasts[0]; f.Record.Decision().Rollback || f.Record.Revision != 3 || len(f.Assumed) != 1 {
			t.Errorf("the newest revision is backout's own and stays, believing the alert for want of a Prometheus: got %s", f)
		}
	})
}
