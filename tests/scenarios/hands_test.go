package scenarios

import (
	"encoding/json"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/tests/stage"
)

func order(t *testing.T, st *stage.Stage, args ...string) string {
	t.Helper()
	text, err := st.Order(limited(t), args...)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

const demo = stage.Namespace + "/" + stage.Release

// People take the canary out and put it back, whether or not a backout serves.
func TestHoldAndReleaseByHand(t *testing.T) {
	t.Parallel()
	st := open(t)
	if err := st.AwaitRollout(limited(t)); err != nil {
		t.Fatal(err)
	}
	if text := order(t, st, "hold", demo, "--reason", "load test"); !strings.Contains(text, "Ingress/canary-demo-canary 20 -> 0") {
		t.Errorf("hold printed:\n%s", text)
	}
	b := backout(t, st, 0, nil)
	r := record(t, b, 2, func(r rollback.Record) bool { return r.Hold.Lasts() })
	if got := look(t, st).Weight; got != "0" {
		t.Errorf("weight %s, want 0", got)
	}
	if a := r.Accusations[0]; a.By == "" || a.Summary != "load test" {
		t.Errorf("the record does not say who holds it, and why: %+v", a)
	}
	if text := order(t, st, "release", demo); !strings.Contains(text, "Ingress/canary-demo-canary 0 -> 20") {
		t.Errorf("release printed:\n%s", text)
	}
	r = record(t, b, 2, closed)
	if got := look(t, st).Weight; got != "20" || !strings.HasPrefix(r.Hold.Why, "released by ") {
		t.Errorf("weight %s, hold over because %q; want 20, and who released it", got, r.Hold.Why)
	}
	// The alert that comes now changes nothing: a person decided.
	post(t, b, stage.Token, payload(t, labels(nil)))
	record(t, b, 2, func(r rollback.Record) bool { return r.Decision().Verdict == rollback.Handled })
	if got := look(t, st).Weight; got != "20" {
		t.Errorf("weight %s after an alert about what a person released, want 20", got)
	}
}

// A person raises a held weight with kubectl: that ends the hold.
func TestAPersonsWeightWins(t *testing.T) {
	t.Parallel()
	st := open(t)
	b := backout(t, st, 0, nil)
	post(t, b, stage.Token, payload(t, labels(map[string]string{"backout": "shed"})))
	record(t, b, 2, func(r rollback.Record) bool { return r.Hold.Lasts() })
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": map[string]any{stage.WeightAnnotation: "5"}}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := st.Client.NetworkingV1().Ingresses(stage.Namespace).Patch(limited(t), stage.CanaryIngress, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: "kubectl"}); err != nil {
		t.Fatal(err)
	}
	r := record(t, b, 2, closed)
	if got := look(t, st).Weight; got != "5" || !strings.Contains(r.Hold.Why, "a weight of 5") {
		t.Errorf("weight %s, hold over because %q; want the person's 5", got, r.Hold.Why)
	}
}

// What is paused is recorded and left alone.
func TestPauseAndResume(t *testing.T) {
	t.Parallel()
	st := open(t)
	b := backout(t, st, 0, nil)
	for _, scope := range [][]string{{demo}, {stage.Namespace}, {"--backout-namespace=default"}} {
		text := order(t, st, append([]string{"pause", "--reason", "release freeze"}, scope...)...)
		if !strings.Contains(text, "is paused") {
			t.Errorf("pause printed:\n%s", text)
		}
		post(t, b, stage.Token, payload(t, labels(nil)))
		r := record(t, b, 2, closed)
		if r.Decision().Verdict != rollback.Paused || !strings.Contains(r.Decision().Reason, "release freeze") {
			t.Errorf("%s; want it paused, and why", r.Summary())
		}
		if got := look(t, st).Weight; got != "20" {
			t.Errorf("weight %s while paused by %v, want 20", got, scope)
		}
		if text := order(t, st, append([]string{"resume"}, scope...)...); !strings.Contains(text, "not paused any more") {
			t.Errorf("resume printed:\n%s", text)
		}
	}
	post(t, b, stage.Token, payload(t, labels(nil)))
	record(t, b, 2, rolledBack)
}
