package helm_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/release"
	helmtime "helm.sh/helm/v3/pkg/time"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/upcommerce/backout/rollback"
)

// check looks ahead, and fails the test if it cannot.
func (c *cluster) check(t *testing.T, target int) rollback.Outlook {
	t.Helper()
	plan := c.plan(t, target)
	c.forget()
	outlook, err := c.Check(t.Context(), plan)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.writes) != 0 {
		t.Errorf("looking ahead changes nothing: got %v", c.writes)
	}
	return outlook
}

// expect compares what was found with one danger, "" for none.
func expect(t *testing.T, got rollback.Outlook, kind rollback.DangerKind, words ...string) {
	t.Helper()
	if kind == "" {
		if len(got.Dangers) != 0 {
			t.Errorf("nothing is dangerous: got %q", got.Dangers)
		}
		return
	}
	if len(got.Dangers) != 1 || got.Dangers[0].Kind != kind {
		t.Errorf("one danger is found, of kind %s: got %q", kind, got.Dangers)
		return
	}
	for _, w := range words {
		if !strings.Contains(got.Dangers[0].What, w) {
			t.Errorf("the danger says %q: got %q", w, got.Dangers[0].What)
		}
	}
}

const widget = `---
apiVersion: shop.example/v1
kind: Scaler
metadata: {name: widget}
spec: {rules: [%s]}
`

// TestTriedOut: what is tried out is what is sent later, object by object.
func TestTriedOut(t *testing.T) {
	scaler := func(rules string) string { return strings.Replace(widget, "%s", rules, 1) }
	const extra = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: extra}\n"
	const anew = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: anew}\ndata: {a: b%s}\n"
	was := manifest("v3", "20") + scaler("1, 2") + extra
	will := manifest("v2", "20") + scaler("3") + strings.Replace(anew, "%s", "", 1)
	for what, c := range map[string]struct {
		// made is what an earlier attempt has made already, and somebody changed.
		made   string
		writes int
	}{
		"at once":               {"", 6},
		"after an interruption": {strings.Replace(anew, "%s", ", by-hand: c", 1), 6},
	} {
		t.Run(what, func(t *testing.T) {
			cluster := newCluster(t)
			cluster.revision(t, 4, release.StatusSuperseded, will)
			cluster.revision(t, 5, release.StatusDeployed, was)
			cluster.live(t, strings.Replace(was, `"20"`, `"0"`, 1)+c.made)
			plan := cluster.plan(t, 4)
			if c.made != "" {
				cluster.revision(t, 6, release.StatusFailed, will)
				cluster.objects["secrets/"+secret(6)].SetAnnotations(map[string]string{claim: plan.Accused.UID})
				plan.Newest = cluster.plan(t, 4).Newest
			}
			cluster.forget()
			outlook, err := cluster.Check(t.Context(), plan)
			if err != nil {
				t.Fatal(err)
			}
			expect(t, outlook, "")
			if len(cluster.writes) != 0 {
				t.Errorf("looking ahead changes nothing: got %v", cluster.writes)
			}
			if _, err := cluster.RollBack(t.Context(), plan); err != nil {
				t.Fatal(err)
			}
			if cluster.fence.asked != len(cluster.writes) {
				t.Errorf("the fence is asked before every write: %d times, before %v", cluster.fence.asked, cluster.writes)
			}
			cluster.compareTrials(t, c.writes)
		})
	}
}

// compareTrials compares what was tried out with what was then written.
func (c *cluster) compareTrials(t *testing.T, count int) {
	t.Helper()
	wrote := make(map[string]string)
	for i, write := range c.writes {
		if !strings.Contains(write, "secrets/") {
			wrote[write] = c.bodies[i]
		}
	}
	if len(c.trials) != len(wrote) || len(wrote) != count {
		t.Errorf("every write is tried out, and nothing else: tried %v, wrote %v", c.trials, c.writes)
	}
	for i, trial := range c.trials {
		body, known := wrote[trial]
		if !known || !strings.HasPrefix(trial, "DELETE") && strings.TrimSpace(body) != strings.TrimSpace(c.trialBodies[i]) {
			t.Errorf("%s: tried out\n%s, sent\n%s", trial, c.trialBodies[i], body)
		}
	}
}

// TestRefusals goes through what the API server may answer.
func TestRefusals(t *testing.T) {
	for what, c := range map[string]struct {
		status  metav1.Status
		kind    rollback.DangerKind
		unknown bool
	}{
		"it accepts":                      {},
		"a field is immutable":            {status: metav1.Status{Code: 422, Reason: metav1.StatusReasonInvalid, Message: "field is immutable"}, kind: rollback.DangerImmutable},
		"backout may not":                 {status: metav1.Status{Code: 403, Reason: metav1.StatusReasonForbidden, Message: "may not"}, kind: rollback.DangerUnbuildable},
		"a webhook says no":               {status: metav1.Status{Code: 400, Reason: metav1.StatusReasonBadRequest, Message: "admission webhook denied it"}, kind: rollback.DangerUnbuildable},
		"a webhook cannot be asked so":    {status: metav1.Status{Code: 400, Reason: metav1.StatusReasonBadRequest, Message: "admission webhook x does not support dry run"}},
		"a webhook is broken":             {status: metav1.Status{Code: 500, Reason: metav1.StatusReasonInternalError, Message: "failed calling webhook"}, unknown: true},
		"the token is not valid any more": {status: metav1.Status{Code: 401, Reason: metav1.StatusReasonUnauthorized}, unknown: true},
		"it has no time":                  {status: metav1.Status{Code: 503, Reason: metav1.StatusReasonServiceUnavailable}, unknown: true},
	} {
		t.Run(what, func(t *testing.T) {
			cluster := newCluster(t)
			cluster.refuse = func(method, object string) metav1.Status {
				if method+" "+object == "PATCH deployments/web-canary" {
					return c.status
				}
				return metav1.Status{}
			}
			if c.unknown {
				if got, err := cluster.Check(t.Context(), cluster.plan(t, 2)); err == nil {
					t.Errorf("what cannot be asked now is an error: got %v", got)
				}
				return
			}
			expect(t, cluster.check(t, 2), c.kind, "Deployment web-canary", c.status.Message)
		})
	}
}

// TestCheck has the cases that need no judgement of the API server.
func TestCheck(t *testing.T) {
	const extra = "---\napiVersion: v1\nkind: %KIND%\nmetadata: {name: extra}\n%REST%"
	object := func(kind, rest string) string {
		return strings.NewReplacer("%KIND%", kind, "%REST%", rest).Replace(extra)
	}
	for what, c := range map[string]struct {
		was, will, live string
		kind            rollback.DangerKind
		words           []string
	}{
		"a Namespace of the chart": {
			was: object("Namespace", ""), live: object("Namespace", ""), kind: rollback.DangerNamespace, words: []string{"Namespace extra"},
		},
		"a Namespace that is gone already": {was: object("Namespace", "")},
		"a claim":                          {was: object("PersistentVolumeClaim", ""), live: object("PersistentVolumeClaim", ""), kind: rollback.DangerPVC, words: []string{"extra"}},
		"a claim to be kept": {
			was:  object("PersistentVolumeClaim", ""),
			live: strings.Replace(object("PersistentVolumeClaim", ""), "extra}", "extra, annotations: {helm.sh/resource-policy: keep}}", 1),
		},
		"a claim that the target has, too": {was: object("PersistentVolumeClaim", ""), will: object("PersistentVolumeClaim", ""), live: object("PersistentVolumeClaim", "")},
		"a Secret with another value": {
			was: object("Secret", "stringData: {a: new}\n"), will: object("Secret", "stringData: {a: old}\n"), live: object("Secret", "data: {a: bmV3}\n"),
			kind: rollback.DangerSecret, words: []string{"Secret extra"},
		},
		"a Secret with the same value, written otherwise": {
			was: object("Secret", "data: {a: c2FtZQ==}\n"), will: object("Secret", "stringData: {a: same}\n"), live: object("Secret", "data: {a: c2FtZQ==}\n"),
		},
		"a Secret that somebody changed since": {
			was: object("Secret", "stringData: {a: old}\n"), will: object("Secret", "stringData: {a: old}\n"), live: object("Secret", "data: {a: bmV3}\n"),
			kind: rollback.DangerSecret, words: []string{"Secret extra"},
		},
		"a Secret that would go":   {was: object("Secret", ""), live: object("Secret", ""), kind: rollback.DangerSecret, words: []string{"deleted"}},
		"a Secret that would come": {will: object("Secret", ""), kind: rollback.DangerSecret, words: []string{"anew"}},
		"a kind that is not served": {
			will: "---\napiVersion: gone.example/v1\nkind: Relic\nmetadata: {name: extra}\n", kind: rollback.DangerUnbuildable, words: []string{"Relic", "revision 4"},
		},
		"a manifest that is none": {will: "---\nkind: [\n", kind: rollback.DangerUnbuildable, words: []string{"revision 4"}},
		"more pods than the target's autoscaler allows": {
			will: strings.Replace(object("HorizontalPodAutoscaler", "spec: {maxReplicas: 1, scaleTargetRef: {kind: Deployment, name: web-canary}}\n"), "v1", "autoscaling/v2", 1),
			kind: rollback.DangerReplicas, words: []string{"web-canary", "1", "2"},
		},
		"as many pods as the target's autoscaler allows": {
			will: strings.Replace(object("HorizontalPodAutoscaler", "spec: {maxReplicas: 2, scaleTargetRef: {kind: Deployment, name: web-canary}}\n"), "v1", "autoscaling/v2", 1),
		},
	} {
		t.Run(what, func(t *testing.T) {
			cluster := newCluster(t)
			cluster.revision(t, 4, release.StatusSuperseded, manifest("v2", "20")+c.will)
			cluster.revision(t, 5, release.StatusDeployed, manifest("v3", "20")+c.was)
			cluster.live(t, c.live)
			expect(t, cluster.check(t, 4), c.kind, c.words...)
		})
	}
}

func TestCheckUnreadable(t *testing.T) {
	c := newCluster(t)
	c.corrupt(1)
	expect(t, c.check(t, 1), rollback.DangerUnbuildable, "revision 1")
	expect(t, c.check(t, 2), "")
}

// TestSecretsAreNotQuoted: what the API server says about a Secret may show it.
func TestSecretsAreNotQuoted(t *testing.T) {
	c := newCluster(t)
	const key = "---\napiVersion: v1\nkind: Secret\nmetadata: {name: key}\nstringData: {a: %s}\n"
	c.revision(t, 4, release.StatusSuperseded, manifest("v2", "20")+strings.Replace(key, "%s", "s3cret", 1))
	c.revision(t, 5, release.StatusDeployed, manifest("v3", "20")+strings.Replace(key, "%s", "other", 1))
	c.live(t, strings.Replace(key, "%s", "other", 1))
	c.refuse = func(method, object string) metav1.Status {
		if method+" "+object == "PATCH secrets/key" {
			return metav1.Status{Code: 422, Reason: metav1.StatusReasonInvalid, Message: "s3cret is no good value"}
		}
		return metav1.Status{}
	}
	got := c.check(t, 4)
	if len(got.Dangers) != 2 {
		t.Errorf("it is refused, and it would get an old value: got %q", got.Dangers)
	}
	for _, d := range got.Dangers {
		if strings.Contains(d.What, "s3cret") || !strings.Contains(d.What, "Secret key") {
			t.Errorf("the Secret is named, what is in it is not: got %q", d.What)
		}
	}
}

// TestCheckMakesNamespaces: nothing can be tried out in a namespace that is yet
// to be made.
func TestCheckMakesNamespaces(t *testing.T) {
	c := newCluster(t)
	c.revision(t, 4, release.StatusSuperseded, manifest("v2", "20")+"---\napiVersion: v1\nkind: Namespace\nmetadata: {name: side}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: in-it, namespace: side}\n")
	c.revision(t, 5, release.StatusDeployed, manifest("v3", "20"))
	c.refuse = func(method, object string) metav1.Status {
		if method+" "+object == "POST configmaps/in-it" {
			return metav1.Status{Code: 404, Reason: metav1.StatusReasonNotFound, Message: `namespaces "side" not found`}
		}
		return metav1.Status{}
	}
	expect(t, c.check(t, 4), "")
	delete(c.objects, "secrets/"+secret(4))
	c.revision(t, 4, release.StatusSuperseded, manifest("v2", "20")+"---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: in-it, namespace: side}\n")
	expect(t, c.check(t, 4), rollback.DangerUnbuildable, "side/in-it")
}

// TestHooks: what upgrade hooks did is not undone.
func TestHooks(t *testing.T) {
	c := newCluster(t)
	hooked := func(number int, description, name string, events ...release.HookEvent) {
		t.Helper()
		err := c.store.Create(secret(number), &release.Release{
			Name: "web", Namespace: "shop", Version: number, Manifest: manifest("v3", "20"),
			Chart: &chart.Chart{Metadata: &chart.Metadata{Name: "web-chart"}},
			Info:  &release.Info{Status: release.StatusDeployed, Description: description, LastDeployed: helmtime.Now()},
			Hooks: []*release.Hook{{Name: name, Events: events}},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	hooked(4, "Upgrade complete", "migrate", release.HookPreUpgrade, release.HookPreInstall)
	hooked(5, "Upgrade complete", "test", release.HookTest)
	hooked(6, "Rollback to 4", "migrate", release.HookPreUpgrade)
	hooked(7, "Upgrade complete", "notify", release.HookPostUpgrade)
	history, err := c.History(t.Context(), web())
	if err != nil || !slices.Equal(history[0].Hooks, []string{"notify"}) || history[2].Hooks != nil || !slices.Equal(history[3].Hooks, []string{"migrate"}) {
		t.Errorf("a revision names its upgrade hooks: got %+v, %v", history, err)
	}
	found := c.check(t, 2).Dangers
	if len(found) != 2 || !strings.Contains(found[0].What, "revision 4 ran migrate") || !strings.Contains(found[1].What, "revision 7 ran notify") {
		t.Errorf("every upgrade since the target counts, a rollback ran no upgrade hook: got %q", found)
	}
	expect(t, c.check(t, 4), rollback.DangerHook, "revision 7")
}

// TestReplicasStay: the number that an autoscaler set is not written at all.
func TestReplicasStay(t *testing.T) {
	for what, c := range map[string]struct {
		scaled    string
		was, will string
		want      int64
	}{
		"autoscaled":                    {"web-canary", "replicas: 2", "replicas: 3", 9},
		"autoscaled, declared before":   {"web-canary", "replicas: 2", "minReadySeconds: 1", 9},
		"autoscaled, declared again":    {"web-canary", "minReadySeconds: 1", "replicas: 3", 9},
		"not autoscaled: Helm's stands": {"other", "replicas: 2", "replicas: 3", 3},
	} {
		t.Run(what, func(t *testing.T) {
			cluster := newCluster(t)
			cluster.revision(t, 4, release.StatusSuperseded, strings.Replace(manifest("v2", "20"), "replicas: 2", c.will, 1))
			cluster.revision(t, 5, release.StatusDeployed, strings.Replace(manifest("v3", "20"), "replicas: 2", c.was, 1))
			cluster.live(t, strings.Replace(manifest("v3", "0"), "replicas: 2", "replicas: 9", 1))
			cluster.live(t, "apiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nmetadata: {name: a}\nspec: {maxReplicas: 10, scaleTargetRef: {kind: Deployment, name: "+c.scaled+"}}\n")
			plan := cluster.plan(t, 4)
			cluster.forget()
			// The autoscaler goes on while Helm writes other objects.
			if c.want == 9 {
				cluster.meanwhile(http.MethodPatch, "configmaps/web-canary", func() {
					_ = unstructured.SetNestedField(cluster.objects["deployments/web-canary"].Object, int64(10), "spec", "replicas")
				})
				c.want = 10
			}
			if _, err := cluster.RollBack(t.Context(), plan); err != nil {
				t.Fatal(err)
			}
			got, _, _ := unstructured.NestedFieldNoCopy(cluster.object(t, "deployments/web-canary").Object, "spec", "replicas")
			if n, _ := got.(int64); n != c.want {
				if f, _ := got.(float64); int64(f) != c.want {
					t.Errorf("want %d replicas, got %v", c.want, got)
				}
			}
		})
	}
}

// TestCheckWithoutRights: what backout may not list is not taken for absent, unless
// it is.
func TestCheckWithoutRights(t *testing.T) {
	for what, c := range map[string]struct {
		forbidden string
		// fails says that it is an error, which is tried again; otherwise a danger.
		fails bool
		hint  string
	}{
		"a kind that sets weights":                 {"canaries/", true, "{apiGroups: [flagger.app], resources: [canaries], verbs: [list]}"},
		"a kind that sets weights, and not served": {"rollouts/", false, ""},
		"what is autoscaled":                       {"horizontalpodautoscalers/", false, "grant backout `list` on horizontalpodautoscalers"},
	} {
		t.Run(what, func(t *testing.T) {
			cluster := newCluster(t)
			asked := false
			cluster.before = func(_, object string) int {
				if object == c.forbidden {
					asked = true
					return http.StatusForbidden
				}
				return 0
			}
			outlook, err := cluster.Check(t.Context(), cluster.plan(t, 2))
			if !asked {
				t.Fatalf("%s is asked for", c.forbidden)
			}
			said := fmt.Sprint(outlook.Dangers, err)
			if (err != nil) != c.fails || (len(outlook.Dangers) != 0) != (c.hint != "" && !c.fails) || !strings.Contains(said, c.hint) {
				t.Errorf("what is served may be there, and is said with what to grant, %q: got %s", c.hint, said)
			}
		})
	}
}
