package scenarios

import (
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/report"
	"github.com/upcommerce/backout/tests/env/sandbox"
	"github.com/upcommerce/backout/tests/env/stage"
)

// An alert at a real Alertmanager rolls the real release back; Helm can still manage
// the release afterwards.
func TestAnAlertRollsTheReleaseBack(t *testing.T) {
	t.Parallel()
	st := open(t)
	b := backout(t, st, 0, nil)
	am := alertmanager(t, st, 0, b)
	timeline := watch(t, st)
	awaitPods(t, b, "1 v1 stable", "2 v3 canary")
	if err := am.Fire(limited(t), sandbox.Alert{Labels: labels(nil)}); err != nil {
		t.Fatal(err)
	}
	r := record(t, b, 2, closed)
	awaitPods(t, b, "1 v1 stable", "3 v2 canary") // in the ReplicaSet of revision 1
	if r.Target != 1 || r.Made != 3 || r.Decision().Verdict != rollback.Act || !r.Restore.Succeeded() {
		t.Errorf("the record: %s; want a rollback to revision 1 as revision 3, and the weight restored", report.Summary(&r))
	}
	if want := []rollback.Weight{{Kind: "Ingress", Name: stage.CanaryIngress, From: "20", To: "0"}}; !slices.Equal(r.Weights, want) {
		t.Errorf("weights in the record: %v, want %v", r.Weights, want)
	}
	inOrder(t, timeline)
	ctx := limited(t)
	history, err := st.Helm(ctx, "history", stage.Release, "--namespace", stage.Namespace)
	if err != nil || !strings.Contains(history, "Rollback to 1") {
		t.Errorf("helm history does not show the rollback: %v\n%s", err, history)
	}
	// The next upgrade works and sets the weight.
	if err := st.Install(ctx, stage.Release, stage.Canary("v4", "blue", 10)...); err != nil {
		t.Errorf("helm upgrade after the rollback: %v", err)
	}
	awaitPods(t, b, "1 v1 stable", "4 v4 canary")
	if weight := look(t, st).Weight; weight != "10" {
		t.Errorf("weight after the upgrade: %q; want the chart's 10", weight)
	}
}

// inOrder waits until the canary has its weight back, and checks the order: weight zero,
// rollback, weight restored, and no other weight.
func inOrder(t *testing.T, timeline *stage.Timeline) {
	t.Helper()
	if _, err := timeline.Await(limited(t), stage.SawWeight, "20"); err != nil {
		t.Fatal(err)
	}
	var order []string
	for _, e := range timeline.Events() {
		if e.Kind == stage.SawWeight || e.Value == "3 deployed" {
			order = append(order, string(e.Kind)+" "+e.Value)
		}
	}
	if want := []string{"weight 0", "revision 3 deployed", "weight 20"}; !slices.Equal(order, want) {
		t.Errorf("seen at the API server: %v, want %v", order, want)
	}
}

// The same alert, 50 times at once at two replicas, leads to one rollback.
func TestOneRollbackForAnyNumberOfDeliveries(t *testing.T) {
	t.Parallel()
	st := open(t)
	replicas := []*stage.Backout{backout(t, st, 0, nil), backout(t, st, 1, nil)}
	body := payload(t, labels(nil))
	codes := make(chan int, 50)
	for i := range 50 {
		go func() {
			code, _, err := replicas[i%2].Post(t.Context(), stage.Token, body)
			if err != nil {
				code = -1
			}
			codes <- code
		}()
	}
	for range 50 {
		if code := <-codes; code != 200 {
			t.Errorf("a delivery was answered %d, want 200", code)
		}
	}
	r := record(t, replicas[0], 2, rolledBack)
	if len(r.Signals) != 1 {
		t.Errorf("the record has %d signals for one alert", len(r.Signals))
	}
	for range 10 {
		post(t, replicas[0], stage.Token, body)
		post(t, replicas[1], stage.Token, body)
	}
	history := revisions(t, st)
	if want := []string{"1 superseded", "2 superseded", "3 deployed"}; !slices.Equal(history, want) {
		t.Errorf("revisions %v, want %v", history, want)
	}
	if records, err := replicas[0].Records(t.Context(), stage.Release); err != nil || len(records) != 1 {
		t.Errorf("%d records, %v; want one", len(records), err)
	}
}

// Two Alertmanagers that are not a cluster post the same alert.
func TestTwoAlertmanagers(t *testing.T) {
	t.Parallel()
	st := open(t)
	b := backout(t, st, 0, nil)
	alert := sandbox.Alert{Labels: labels(nil)}
	both := []*sandbox.Alertmanager{alertmanager(t, st, 0, b), alertmanager(t, st, 1, b)}
	for _, am := range both {
		if err := am.Fire(limited(t), alert); err != nil {
			t.Fatal(err)
		}
	}
	record(t, b, 2, closed)
	metric(t, b, `backout_webhook_requests_total{code="200"} 2`)
	if history, want := revisions(t, st), []string{"1 superseded", "2 superseded", "3 deployed"}; !slices.Equal(history, want) {
		t.Errorf("revisions %v, want %v", history, want)
	}
}

// In observe mode, backout decides, records and touches nothing.
func TestObserveMode(t *testing.T) {
	t.Parallel()
	st := open(t)
	b := backout(t, st, 0, map[string]string{"BACKOUT_MODE": "observe"})
	before := look(t, st)
	if code, text := post(t, b, stage.Token, payload(t, labels(nil))); code != 200 {
		t.Fatalf("answered %d: %s", code, text)
	}
	r := record(t, b, 2, closed)
	if r.Decision().Verdict != rollback.Observe || !strings.Contains(r.Decision().Reason, "revision 1") {
		t.Errorf("the record does not say what backout would have done: %s", report.Summary(&r))
	}
	after := look(t, st)
	before.Records++
	if !slices.Equal(after.Revisions, before.Revisions) || after.Weight != before.Weight || after.Records != before.Records {
		t.Errorf("observe mode changed the cluster:\nbefore %+v\nafter  %+v", before, after)
	}
}

// The target is the newest good revision with different content: not known bad content,
// and not another step of the same ramp.
func TestTheTargetIsChosenByContent(t *testing.T) {
	t.Parallel()
	st := empty(t)
	ctx := limited(t)
	for _, values := range [][]string{
		stage.Canary("v2", "green", 20), stage.Canary("v3", "yellow", 5), stage.Canary("v3", "yellow", 20), stage.Canary("v3", "yellow", 50),
	} {
		if err := st.Install(ctx, stage.Release, values...); err != nil {
			t.Fatal(err)
		}
	}
	b := backout(t, st, 0, nil)
	post(t, b, stage.Token, payload(t, labels(nil)))
	if r := record(t, b, 4, rolledBack); r.Target != 1 {
		t.Errorf("rolled back to revision %d, want 1: revisions 2, 3 and 4 have the same content", r.Target)
	}
	// v3 is known bad now. A user deploys it again, then v4, which is bad, too.
	for _, values := range [][]string{stage.Canary("v3", "yellow", 20), stage.Canary("v4", "blue", 20)} {
		if err := st.Install(ctx, stage.Release, values...); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Child.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	<-b.Child.Done()
	c := backout(t, st, 1, map[string]string{"BACKOUT_COOLDOWN": "1ms"})
	post(t, c, stage.Token, payload(t, labels(map[string]string{"version": "v4"})))
	if r := record(t, c, 7, rolledBack); r.Target != 5 {
		t.Errorf("rolled back to revision %d, want 5, backout's own rollback to v2: the content of v3 is known bad in every revision", r.Target)
	}
}

// revisions returns the release's revisions with their status, oldest first.
func revisions(t *testing.T, st *stage.Stage) []string {
	t.Helper()
	var short []string
	for _, r := range look(t, st).Revisions {
		short = append(short, strings.Join(strings.Fields(r)[:2], " "))
	}
	slices.Sort(short)
	return short
}
