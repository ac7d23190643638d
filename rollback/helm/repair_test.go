package helm_test

import (
	"encoding/json"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/release"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/upcommerce/backout/rollback"
)

// pods is a Deployment with these containers and this other part of the pod's spec.
func pods(name, containers, rest string) string {
	return "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: " + name + "}\nspec: {selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b, track: canary}}, spec: {containers: [" + containers + "]" + rest + "}}}\n"
}

// podSpec returns the pod's spec of a live Deployment as JSON.
func (c *cluster) podSpec(t *testing.T, name string) string {
	t.Helper()
	spec, _, _ := unstructured.NestedMap(c.object(t, "deployments/"+name).Object, "spec", "template", "spec")
	text, err := json.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestEntriesOfTheSameNameAreNotLost: Kubernetes merges lists by keys that need not be
// unique, and Helm's rollback alone loses entries, or keeps the suspect revision's.
func TestEntriesOfTheSameNameAreNotLost(t *testing.T) {
	env := func(image, entries string) string {
		return "{name: web, image: '" + image + "', env: [" + entries + "]}"
	}
	ports := func(image, entries string) string {
		return "{name: web, image: '" + image + "', ports: [" + entries + "]}"
	}
	const on, dns = "{name: MODE, value: 'on'}", "{containerPort: 53, protocol: TCP}, {containerPort: 53, protocol: UDP}"
	for what, c := range map[string]struct{ suspect, target, want string }{
		"the suspect revision has a variable twice": {
			env("web:v3", on+", "+on), env("web:v2", on), `"env":[{"name":"MODE","value":"on"}]`,
		},
		"with two values": {
			env("web:v3", on+", {name: MODE, value: x}"), env("web:v2", "{name: MODE, value: why}, {name: Z, value: z}"),
			`"env":[{"name":"MODE","value":"why"},{"name":"Z","value":"z"}]`,
		},
		"the target has a variable twice": {
			env("web:v3", on), env("web:v2", "{name: MODE, value: x}, {name: MODE, value: why}"), `"env":[{"name":"MODE","value":"x"},{"name":"MODE","value":"why"}]`,
		},
		"a port with two protocols": {
			ports("web:v3", "{containerPort: 53, protocol: TCP}"), ports("web:v2", dns), `"ports":[{"containerPort":53,"protocol":"TCP"},{"containerPort":53,"protocol":"UDP"}]`,
		},
		"a port of two with the same number goes": {
			ports("web:v3", dns), ports("web:v2", "{containerPort: 53, protocol: UDP}"), `"ports":[{"containerPort":53,"protocol":"UDP"}]`,
		},
	} {
		t.Run(what, func(t *testing.T) {
			cl := newCluster(t)
			suspect, target := pods("web", c.suspect, ""), pods("web", c.target, "")
			cl.both(t, suspect, target)
			cl.live(t, suspect)
			result := cl.preflight(t, 4)
			expectDanger(t, result, "")
			if len(result.Differences) != 0 {
				t.Errorf("a repaired part is no difference: got %q", result.Differences)
			}
			if _, err := cl.RollBack(t.Context(), cl.plan(t, 4)); err != nil {
				t.Fatal(err)
			}
			if got := cl.podSpec(t, "web"); !strings.Contains(got, c.want) || !strings.Contains(got, "web:v2") {
				t.Errorf("the pods have what the target declares: want %s, got %s", c.want, got)
			}
		})
	}
}

// TestWhatAFailedUpgradeLeftGoes: Helm takes the last deployed revision for the live one, so
// that parts that a failed upgrade wrote would stay for ever.
func TestWhatAFailedUpgradeLeftGoes(t *testing.T) {
	const web, bad, helper = "{name: web, image: 'web:v1'}", "{name: web, image: 'web:v3'}", ", {name: helper, image: 'helper:bad'}"
	const injected = ", {name: injected, image: 'mesh:v1'}"
	for what, c := range map[string]struct{ suspect, target, failed string }{
		"in an object that the rollback changes":   {pods("web", bad, ""), pods("web", web, ""), pods("web", bad+helper, "")},
		"in an object that both declare the same":  {pods("web", web, ""), pods("web", web, ""), pods("web", web+helper, "")},
		"in another field":                         {pods("web", bad, ""), pods("web", web, ""), pods("web", bad, ", nodeSelector: {helper: bad}")},
		"in an object of another kind than K8s'":   {document(policy, "1", "1"), document(policy, "1", "1"), document(policy, "1", "helper")},
		"of an object that none of them declares ": {"", "", ""},
	} {
		t.Run(what, func(t *testing.T) {
			cl := newCluster(t)
			cl.revision(t, 4, release.StatusSuperseded, manifest("v2", "20")+c.target)
			cl.revision(t, 5, release.StatusFailed, manifest("v3", "20")+c.failed)
			cl.revision(t, 6, release.StatusDeployed, manifest("v3", "20")+c.suspect)
			live := strings.Replace(c.failed, "web:v3", "web:v3", 1)
			live = strings.Replace(live, "}], ", "}"+injected+"], ", 1)
			cl.live(t, live)
			result := cl.preflight(t, 4)
			expectDanger(t, result, "")
			if _, err := cl.RollBack(t.Context(), cl.plan(t, 4)); err != nil {
				t.Fatal(err)
			}
			for name, o := range cl.objects {
				text, _ := json.Marshal(o)
				if !strings.HasPrefix(name, "secrets/") && strings.Contains(string(text), "helper") {
					t.Errorf("%s has nothing of the failed upgrade: got %s", name, text)
				}
			}
		})
	}
}

// TestDifferencesAreNamed: parts that Helm did not write stay, and the result names them.
func TestDifferencesAreNamed(t *testing.T) {
	const web, bad = "{name: web, image: 'web:v1'}", "{name: web, image: 'web:v3', env: [{name: A, value: a}]}"
	cl := newCluster(t)
	cl.both(t, pods("web", bad, ""), pods("web", web, ""))
	cl.live(t, pods("web", bad+", {name: manual, image: x}", ""))
	plan := cl.plan(t, 4)
	result, err := cl.Preflight(t.Context(), plan)
	want := "Deployment web differs from revision 4 in spec.template.spec.containers[manual]"
	if err != nil || len(result.Differences) != 1 || result.Differences[0] != want {
		t.Errorf("the preflight names what would stay: want %q, got %q, %v", want, result.Differences, err)
	}
	if _, err := cl.RollBack(t.Context(), plan); err != nil {
		t.Fatal(err)
	}
	got, err := cl.Differences(t.Context(), plan)
	if err != nil || len(got) != 1 || got[0] != want {
		t.Errorf("the live objects are compared again: want %q, got %q, %v", want, got, err)
	}
}

// TestNoDifferences: defaults of the API server, changes of admission webhooks, held weights
// and numbers of replicas do not count.
func TestNoDifferences(t *testing.T) {
	for what, change := range map[string]func(o rollback.Object){
		"nothing": func(rollback.Object) {},
		"a default": func(o rollback.Object) {
			_ = unstructured.SetNestedField(o, int64(600), "spec", "progressDeadlineSeconds")
		},
		"a number of replicas":         func(o rollback.Object) { _ = unstructured.SetNestedField(o, int64(9), "spec", "replicas") },
		"a label of another client":    func(o rollback.Object) { _ = unstructured.SetNestedField(o, "x", "metadata", "labels", "x") },
		"a status":                     func(o rollback.Object) { _ = unstructured.SetNestedField(o, int64(9), "status", "replicas") },
		"the weight that the hold set": nil,
	} {
		t.Run(what, func(t *testing.T) {
			cl := newCluster(t)
			plan := cl.plan(t, 2)
			if _, err := cl.RollBack(t.Context(), plan); err != nil {
				t.Fatal(err)
			}
			if change != nil {
				change(cl.objects["deployments/web-canary"].Object)
			}
			if got, err := cl.Differences(t.Context(), plan); err != nil || len(got) != 0 {
				t.Errorf("%s is no difference: got %q, %v", what, got, err)
			}
		})
	}
}

// TestLabelsOfTheRevisionAreNoDifference: a chart names the version in a label of every object. Helm writes
// the target's, or the object keeps the suspect's if backout may not write it.
func TestLabelsOfTheRevisionAreNoDifference(t *testing.T) {
	labelled := func(version, value string) string {
		return "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: labelled, labels: {app.kubernetes.io/version: " + version + "}}\ndata: {a: '" + value + "'}\n"
	}
	for what, c := range map[string]struct{ live, want string }{
		"written":                 {labelled("v2", "1"), ""},
		"left as it was":          {labelled("v3", "1"), ""},
		"written, and changed":    {labelled("v2", "2"), "ConfigMap labelled differs from revision 4 in data.a"},
		"as it was, and changed":  {labelled("v3", "2"), "ConfigMap labelled differs from revision 4 in data.a"},
		"of a third one, changed": {labelled("v9", "1"), "ConfigMap labelled differs from revision 4 in metadata.labels.app.kubernetes.io/version"},
	} {
		t.Run(what, func(t *testing.T) {
			cl := newCluster(t)
			cl.both(t, labelled("v3", "1"), labelled("v2", "1"))
			plan := cl.plan(t, 4)
			if _, err := cl.RollBack(t.Context(), plan); err != nil {
				t.Fatal(err)
			}
			cl.live(t, c.live)
			got, err := cl.Differences(t.Context(), plan)
			if err != nil || strings.Join(got, "; ") != c.want {
				t.Errorf("want %q, got %q, %v", c.want, got, err)
			}
		})
	}
}

// TestDifferencesAfterTheRollback has what others did meanwhile.
func TestDifferencesAfterTheRollback(t *testing.T) {
	for what, c := range map[string]struct {
		change func(cl *cluster)
		want   string
	}{
		"an object is gone": {func(cl *cluster) { delete(cl.objects, "configmaps/web-canary") }, "ConfigMap web-canary does not exist"},
		"a value is another one": {func(cl *cluster) {
			_ = unstructured.SetNestedField(cl.objects["configmaps/web-canary"].Object, "v9", "data", "version")
		}, "ConfigMap web-canary differs from revision 2 in data.version"},
		"an object may not be read any more": {func(cl *cluster) { cl.forbid("GET", "configmaps/web-canary") }, "ConfigMap web-canary could not be compared with revision 2: backout may not get it"},
	} {
		t.Run(what, func(t *testing.T) {
			cl := newCluster(t)
			plan := cl.plan(t, 2)
			if _, err := cl.RollBack(t.Context(), plan); err != nil {
				t.Fatal(err)
			}
			c.change(cl)
			if got, err := cl.Differences(t.Context(), plan); err != nil || len(got) != 1 || !strings.HasPrefix(got[0], c.want) {
				t.Errorf("want %q, got %q, %v", c.want, got, err)
			}
		})
	}
}
