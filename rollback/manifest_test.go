package rollback_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/upcommerce/backout/rollback"
)

// declared returns one object of a kind with a spec.
func declared(kind, name, spec string) string {
	return fmt.Sprintf("---\napiVersion: x/v1\nkind: %s\nmetadata: {name: %s}\nspec: {%s}\n", kind, name, spec)
}

// podTemplate returns a pod template whose labels are given.
func podTemplate(labels string) string {
	return "template: {metadata: {labels: {" + labels + "}}, spec: {containers: [{name: c, image: a}]}}"
}

// namesOf returns the workloads' names, with a star after those of the canary.
func namesOf(workloads []rollback.Workload) []string {
	var found []string
	for _, w := range workloads {
		if w.Canary {
			w.Name += "*"
		}
		found = append(found, w.Name)
	}
	return found
}

func TestWorkloads(t *testing.T) {
	template := podTemplate("a: b")
	m := decode(t, declared("Service", "service", "selector: {a: b}")+
		declared("Deployment", "deployment", template)+
		declared("StatefulSet", "statefulset", template)+
		declared("Rollout", "rollout", template)+
		declared("Job", "job", template)+
		declared("CronJob", "cronjob", "jobTemplate: {spec: {"+template+"}}")+
		declared("Pod", "pod", "containers: []")+
		declared("Deployment", "empty", "replicas: 1")+
		declared("Deployment", "unmade", "template: {metadata: {labels: {a: b}}}"))
	if got, want := namesOf(m.Workloads()), []string{"deployment", "statefulset", "rollout", "job", "cronjob", "pod"}; !slices.Equal(got, want) {
		t.Errorf("every object that makes pods is a workload, in the manifest's order: got %q, want %q", got, want)
	}
	if got, want := namesOf((rollback.Track{}).Serving(m)), []string{"deployment", "statefulset", "rollout"}; !slices.Equal(got, want) {
		t.Errorf("workloads that serve have a template of their own and do not end by themselves: got %q, want %q", got, want)
	}
}

func TestWorkloadOf(t *testing.T) {
	m := decode(t, "kind: Deployment\nmetadata: {name: web, namespace: side}\nspec: {template: {metadata: {labels: {a: b, n: 1}}, spec: {nodeName: x}}}\n")
	w, ok := rollback.WorkloadOf(m[0])
	if !ok || w.Kind != "Deployment" || w.Namespace != "side" || w.Name != "web" || w.PodLabels["a"] != "b" || len(w.PodLabels) != 1 {
		t.Errorf("a workload has the object's names and its pods' labels: got %+v, %t", w, ok)
	}
	if spec, _ := w.Template["spec"].(map[string]any); spec["nodeName"] != "x" {
		t.Errorf("a workload has the pod template: got %v", w.Template)
	}
	for _, malformed := range []rollback.Object{nil, {}, {"kind": "Deployment", "spec": "text"}, {"spec": rollback.Object{"template": []any{}}}} {
		if w, ok := rollback.WorkloadOf(malformed); ok {
			t.Errorf("%v makes no pods: got %+v", malformed, w)
		}
	}
}
