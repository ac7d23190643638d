package scenarios

import (
	"encoding/json"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/report"
	"github.com/upcommerce/backout/tests/env/stage"
)

// command runs one of backout's commands and returns its output.
func command(t *testing.T, st *stage.Stage, args ...string) string {
	t.Helper()
	text, err := st.Command(limited(t), args...)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

const demo = stage.Namespace + "/" + stage.Release

// An operator takes the canary out of rotation and puts it back, whether or not
// backout runs as a server.
func TestManualHoldAndUnhold(t *testing.T) {
	t.Parallel()
	st := open(t)
	if err := st.AwaitRollout(limited(t)); err != nil {
		t.Fatal(err)
	}
	if text := command(t, st, "hold", demo, "--reason", "load test"); !strings.Contains(text, "Ingress/canary-demo-canary 20 -> 0") {
		t.Errorf("hold printed:\n%s", text)
	}
	b := backout(t, st, 0, nil)
	r := record(t, b, 2, func(r rollback.Record) bool { return r.Hold.Active() })
	if got := look(t, st).Weight; got != "0" {
		t.Errorf("weight %s, want 0", got)
	}
	if s := r.Signals[0]; s.Operator == "" || s.Summary != "load test" {
		t.Errorf("the signal is %+v, want the operator's name and reason", s)
	}
	if text := command(t, st, "unhold", demo); !strings.Contains(text, "Ingress/canary-demo-canary 0 -> 20") {
		t.Errorf("unhold printed:\n%s", text)
	}
	r = record(t, b, 2, closed)
	if got := look(t, st).Weight; got != "20" || !strings.HasPrefix(r.Hold.Reason, "lifted by ") {
		t.Errorf("weight %s, hold ended: %q; want 20, and the operator's name", got, r.Hold.Reason)
	}
	// A later alert changes nothing: an operator has decided.
	post(t, b, stage.Token, payload(t, labels(nil)))
	record(t, b, 2, func(r rollback.Record) bool { return r.Decision().Verdict == rollback.Handled })
	if got := look(t, st).Weight; got != "20" {
		t.Errorf("weight %s after an alert about a canary that an operator put back, want 20", got)
	}
}

// An operator rolls the release back with backout's own command while backout runs: it holds the
// weight, and backout leaves the release alone. An order without a way back changes nothing.
func TestManualRollback(t *testing.T) {
	t.Parallel()
	st := open(t)
	b := backout(t, st, 0, nil)
	if err := st.AwaitRollout(limited(t)); err != nil {
		t.Fatal(err)
	}
	text := command(t, st, "rollback", demo, "--to", "1")
	for _, line := range []string{
		"revision 2 is rolled back to revision 1", "Ingress/canary-demo-canary 20 -> 0", "Helm has made revision 3", "Ingress/canary-demo-canary 0 -> 20",
		"is rolled back to revision 1, as revision 3",
	} {
		if !strings.Contains(text, line) {
			t.Errorf("rollback does not print %q:\n%s", line, text)
		}
	}
	r := record(t, b, 2, closed)
	if got := look(t, st).Weight; got != "20" || r.Manual.Active() || r.Rollback != nil || r.Hold.Active() {
		t.Errorf("weight %s, manual %+v, hold %+v; want the weight of revision 1, and the rollback ended", got, r.Manual, r.Hold)
	}
	if text, err := st.Command(limited(t), "rollback", demo, "--to", "3"); err == nil || !strings.Contains(text+err.Error(), "not older") {
		t.Errorf("a rollback to the newest revision is refused: got %v\n%s", err, text)
	}
}

// An operator restores a held weight with kubectl: that ends the hold.
func TestAnOperatorsWeightWins(t *testing.T) {
	t.Parallel()
	st := open(t)
	b := backout(t, st, 0, nil)
	post(t, b, stage.Token, payload(t, labels(map[string]string{"backout": "shed"})))
	record(t, b, 2, func(r rollback.Record) bool { return r.Hold.Active() })
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": map[string]any{stage.WeightAnnotation: "5"}}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := st.Client.NetworkingV1().Ingresses(stage.Namespace).Patch(limited(t), stage.CanaryIngress, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: "kubectl"}); err != nil {
		t.Fatal(err)
	}
	r := record(t, b, 2, closed)
	if got := look(t, st).Weight; got != "5" || !strings.Contains(r.Hold.Reason, "a weight of 5") {
		t.Errorf("weight %s, hold ended: %q; want the operator's 5", got, r.Hold.Reason)
	}
}

// backout records a paused release and leaves it alone.
func TestPauseAndResume(t *testing.T) {
	t.Parallel()
	st := open(t)
	b := backout(t, st, 0, nil)
	for _, scope := range [][]string{{demo}, {stage.Namespace}, {"--backout-namespace=default"}} {
		text := command(t, st, append([]string{"pause", "--reason", "release freeze"}, scope...)...)
		if !strings.Contains(text, "is paused") {
			t.Errorf("pause printed:\n%s", text)
		}
		post(t, b, stage.Token, payload(t, labels(nil)))
		r := record(t, b, 2, closed)
		if r.Decision().Verdict != rollback.Paused || !strings.Contains(r.Decision().Reason, "release freeze") {
			t.Errorf("%s; want the verdict paused, with the reason", report.Summary(&r))
		}
		if got := look(t, st).Weight; got != "20" {
			t.Errorf("weight %s while paused by %v, want 20", got, scope)
		}
		if text := command(t, st, append([]string{"resume"}, scope...)...); !strings.Contains(text, "not paused any more") {
			t.Errorf("resume printed:\n%s", text)
		}
	}
	post(t, b, stage.Token, payload(t, labels(nil)))
	record(t, b, 2, rolledBack)
}
