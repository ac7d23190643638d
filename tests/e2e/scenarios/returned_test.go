package scenarios

import (
	"fmt"
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

// A user repairs the version and deploys it under the same tag, a minute after its rollback. The
// alert still fires, on what the pods before did under the same version: nothing happens to the
// release, neither while it fires nor after.
func TestAHealthyRedeploymentUnderTheSameTagIsLeftAlone(t *testing.T) {
	t.Parallel()
	const pause, watched = time.Minute, 100 * time.Second
	st := empty(t)
	b := backout(t, st, 0, stage.QueryPrometheus())
	p, err := st.Prometheus(limited(t), stage.Monitoring{Alertmanager: alertmanager(t, st, 0, b)}) // alerts end as shipped
	if err != nil {
		t.Fatal(err)
	}
	home := stroll(t, shop(t, st))
	defer home()
	healthy := stage.Canary("v3", "yellow", percent)
	install(t, st, stage.Release, slices.Concat(healthy, []string{stage.Failing(0.5)})...)
	r := record(t, b, 2, restored)
	time.Sleep(time.Until(r.Rollback.Done.Add(pause)))
	timeline := watch(t, st)
	install(t, st, stage.Release, healthy...)
	time.Sleep(watched)
	fired, err := p.Query(t.Context(), fmt.Sprintf(`count_over_time(ALERTS{namespace=%q, version="v3"}[%s])`, stage.Namespace, watched))
	t.Logf("alerts about v3 since it is back, and at how many evaluations each: %v", fired)
	if err != nil || len(fired) == 0 {
		t.Errorf("no alert about v3 fires since it is back (%v): this test needs one", err)
	}
	for _, e := range timeline.Events() {
		if e.Kind == stage.SawWeight && e.Value != "20" || e.Kind == stage.SawRevision && e.Value == "5 deployed" {
			t.Errorf("%s %s: backout touches a healthy canary whose tag was rolled back before", e.Kind, e.Value)
		}
	}
	all, want := revisions(t, st), []string{"1 superseded", "2 superseded", "3 superseded", "4 deployed"}
	if weight := look(t, st).Weight; weight != "20" || !slices.Equal(all, want) {
		records, _ := b.Records(t.Context(), stage.Release)
		t.Errorf("weight %s, revisions %v; want 20 and %v; %s", weight, all, want, summaries(records))
	}
}
