package scenarios

import (
	"slices"
	"testing"
	"time"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/report"
	"github.com/upcommerce/backout/tests/env/stage"
)

// A user deploys the bad version again right after its rollback. Its alert has never stopped
// firing, so that Alertmanager sends nothing: backout asks Prometheus, and acts once the rule's
// window of a minute contains nothing of the pods before.
func TestABadVersionThatComesBackIsShedOnItsOwnEvidence(t *testing.T) {
	t.Parallel()
	const window = time.Minute
	st := empty(t)
	b := backout(t, st, 0, stage.QueryPrometheus())
	prometheus(t, st, alertmanager(t, st, 0, b))
	home := stroll(t, shop(t, st))
	defer home()
	bad := slices.Concat(stage.Canary("v3", "yellow", percent), []string{stage.Failing(0.5)})
	install(t, st, stage.Release, bad...)
	record(t, b, 2, restored)
	install(t, st, stage.Release, bad...)
	if err := st.AwaitRollout(limited(t)); err != nil {
		t.Fatal(err)
	}
	serving := time.Now()
	r := record(t, b, 4, func(r rollback.Record) bool { return r.Shed.Succeeded() })
	took := r.Shed.Done.Sub(serving)
	t.Logf("shed %s after its pods were rolled out", took)
	if took < window-10*time.Second || took > window+20*time.Second {
		t.Errorf("shed %s after its pods were rolled out, want a window of %s, and a few seconds", took, window)
	}
	if r.Decision().Verdict != rollback.Cooldown || len(r.Signals) == 0 {
		t.Errorf("%s; want a hold: the release was rolled back a moment ago", report.Summary(&r))
	}
}
