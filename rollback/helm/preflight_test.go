package helm_test

import (
	"net/http"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/release"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/upcommerce/backout/rollback"
)

// preflight returns the result for a rollback to target, and fails the test on an error.
func (c *cluster) preflight(t *testing.T, target int) rollback.PreflightResult {
	t.Helper()
	plan := c.plan(t, target)
	c.resetCounts()
	result, err := c.Preflight(t.Context(), plan)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.writes) != 0 {
		t.Errorf("a preflight changes nothing: got %v", c.writes)
	}
	return result
}

// expectDanger fails the test unless the result is one danger of the kind, "" for none,
// with the words.
func expectDanger(t *testing.T, got rollback.PreflightResult, kind rollback.DangerKind, words ...string) {
	t.Helper()
	if kind == "" {
		if len(got.Dangers) != 0 {
			t.Errorf("the rollback has no dangers: got %q", got.Dangers)
		}
		return
	}
	if len(got.Dangers) != 1 || got.Dangers[0].Kind != kind {
		t.Errorf("the rollback has one danger, of kind %s: got %q", kind, got.Dangers)
		return
	}
	for _, w := range words {
		if !strings.Contains(got.Dangers[0].What, w) {
			t.Errorf("the danger contains %q: got %q", w, got.Dangers[0].What)
		}
	}
}

// job returns a Job whose spec begins with the text.
func job(name, spec string) string {
	return "---\napiVersion: batch/v1\nkind: Job\nmetadata: {name: " + name + "}\nspec: {" + spec + "template: {spec: {restartPolicy: Never, containers: [{name: m, image: 'migrate:v1'}]}}}\n"
}

// TestDangers has the dangers that need no refusal of the API server.
func TestDangers(t *testing.T) {
	const extra = "---\napiVersion: v1\nkind: %KIND%\nmetadata: {name: extra}\n%REST%"
	object := func(kind, rest string) string {
		return strings.NewReplacer("%KIND%", kind, "%REST%", rest).Replace(extra)
	}
	needy := func(from string) string {
		return "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: needy}\nspec: {selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, spec: {containers: [{name: a, image: a, envFrom: [{" + from + "}]}]}}}\n"
	}
	for what, c := range map[string]struct {
		suspect, target, live string
		kind                  rollback.DangerKind
		words                 []string
	}{
		"a Namespace of the chart": {
			suspect: object("Namespace", ""), live: object("Namespace", ""), kind: rollback.DangerForeign, words: []string{"delete Namespace extra"},
		},
		"a claim": {suspect: object("PersistentVolumeClaim", ""), live: object("PersistentVolumeClaim", ""), kind: rollback.DangerPVC, words: []string{"extra"}},
		"a claim that Helm keeps": {
			suspect: object("PersistentVolumeClaim", ""),
			live:    strings.Replace(object("PersistentVolumeClaim", ""), "extra}", "extra, annotations: {helm.sh/resource-policy: keep}}", 1),
		},
		"a claim that the target declares too": {suspect: object("PersistentVolumeClaim", ""), target: object("PersistentVolumeClaim", ""), live: object("PersistentVolumeClaim", "")},
		"a Secret with another value": {
			suspect: object("Secret", "stringData: {a: new}\n"), target: object("Secret", "stringData: {a: old}\n"), live: object("Secret", "data: {a: bmV3}\n"),
			kind: rollback.DangerSecret, words: []string{"Secret extra"},
		},
		"a Secret with the same value in another form": {
			suspect: object("Secret", "data: {a: c2FtZQ==}\n"), target: object("Secret", "stringData: {a: same}\n"), live: object("Secret", "data: {a: c2FtZQ==}\n"),
		},
		"a Secret that an operator changed since, and that both declare the same: it stays": {
			suspect: object("Secret", "stringData: {a: old}\n"), target: object("Secret", "stringData: {a: old}\n"), live: object("Secret", "data: {a: bmV3}\n"),
		},
		"a Secret that would be deleted": {suspect: object("Secret", ""), live: object("Secret", ""), kind: rollback.DangerSecret, words: []string{"deleted"}},
		"a Secret that would be created": {target: object("Secret", ""), kind: rollback.DangerSecret, words: []string{"created again"}},
		"a kind that is not served": {
			target: "---\napiVersion: gone.example/v1\nkind: Relic\nmetadata: {name: extra}\n", kind: rollback.DangerUnbuildable, words: []string{"Relic", "revision 4"},
		},
		"a manifest that is not YAML": {target: "---\nkind: [\n", kind: rollback.DangerUnbuildable, words: []string{"revision 4"}},
		"an object of a kind that backout does not know": {
			suspect: "---\napiVersion: shop.example/v1\nkind: Topic\nmetadata: {name: orders}\n", live: "---\napiVersion: shop.example/v1\nkind: Topic\nmetadata: {name: orders}\n",
			kind: rollback.DangerData, words: []string{"delete Topic orders, which may hold data"},
		},
		"a Job named after the revision": {
			suspect: job("migrate-5", ""), target: job("migrate-4", ""), live: job("migrate-5", ""),
			kind: rollback.DangerJob, words: []string{"create Job migrate-4, which runs again"},
		},
		"a Job that has ended and is there": {suspect: job("migrate-5", ""), target: job("migrate-4", ""), live: job("migrate-4", "") + job("migrate-5", "")},
		"a Job that is suspended": {
			target: job("migrate", ""), live: job("migrate", "suspend: true, "), kind: rollback.DangerJob, words: []string{"resume Job migrate"},
		},
		"pods that need what the rollback deletes": {
			suspect: object("ConfigMap", ""), target: needy("configMapRef: {name: extra}"), live: object("ConfigMap", ""),
			kind: rollback.DangerPods, words: []string{"Deployment needy", "ConfigMap extra", "the rollback deletes"},
		},
		"pods that need what does not exist": {target: needy("secretRef: {name: extra}"), kind: rollback.DangerPods, words: []string{"Secret extra", "does not exist"}},
		"pods that need what does not exist, and stay the same": {
			suspect: needy("secretRef: {name: extra}"), target: needy("secretRef: {name: extra}"), live: needy("secretRef: {name: extra}"),
		},
		"pods that stay the same and need what the rollback deletes": {
			suspect: object("ConfigMap", "") + needy("configMapRef: {name: extra}"), target: needy("configMapRef: {name: extra}"),
			live: object("ConfigMap", "") + needy("configMapRef: {name: extra}"), kind: rollback.DangerPods, words: []string{"the rollback deletes"},
		},
		"pods that need a Secret that the rollback makes of a SealedSecret": {
			target: needy("secretRef: {name: extra}") + "---\napiVersion: shop.example/v1\nkind: SealedSecret\nmetadata: {name: extra}\n",
		},
		"pods that can do without":                {target: needy("secretRef: {name: extra, optional: true}")},
		"pods that need what the target declares": {target: needy("configMapRef: {name: extra}") + object("ConfigMap", "")},
		"pods that need what exists":              {target: needy("secretRef: {name: extra}"), live: object("Secret", "")},
		"pods that need what Helm keeps": {
			suspect: strings.Replace(object("ConfigMap", ""), "extra}", "extra, annotations: {helm.sh/resource-policy: keep}}", 1), target: needy("configMapRef: {name: extra}"),
			live: strings.Replace(object("ConfigMap", ""), "extra}", "extra, annotations: {helm.sh/resource-policy: keep}}", 1),
		},
		"more pods than the target's autoscaler allows": {
			target: strings.Replace(object("HorizontalPodAutoscaler", "spec: {maxReplicas: 1, scaleTargetRef: {kind: Deployment, name: web-canary}}\n"), "v1", "autoscaling/v2", 1),
			kind:   rollback.DangerReplicas, words: []string{"web-canary", "1", "2"},
		},
		"as many pods as the target's autoscaler allows": {
			target: strings.Replace(object("HorizontalPodAutoscaler", "spec: {maxReplicas: 2, scaleTargetRef: {kind: Deployment, name: web-canary}}\n"), "v1", "autoscaling/v2", 1),
		},
	} {
		t.Run(what, func(t *testing.T) {
			cluster := newCluster(t)
			cluster.revision(t, 4, release.StatusSuperseded, manifest("v2", "20")+c.target)
			cluster.revision(t, 5, release.StatusDeployed, manifest("v3", "20")+c.suspect)
			cluster.live(t, c.live)
			expectDanger(t, cluster.preflight(t, 4), c.kind, c.words...)
		})
	}
}

func TestARevisionThatCannotBeReadIsADanger(t *testing.T) {
	c := newCluster(t)
	c.corrupt(1)
	expectDanger(t, c.preflight(t, 1), rollback.DangerUnbuildable, "revision 1")
	expectDanger(t, c.preflight(t, 2), "")
}

// TestSecretsAreNotQuoted: the API server's message about a Secret may contain its data.
func TestSecretsAreNotQuoted(t *testing.T) {
	c := newCluster(t)
	const key = "---\napiVersion: v1\nkind: Secret\nmetadata: {name: key}\nstringData: {a: %s}\n"
	c.revision(t, 4, release.StatusSuperseded, manifest("v2", "20")+strings.Replace(key, "%s", "s3cret", 1))
	c.revision(t, 5, release.StatusDeployed, manifest("v3", "20")+strings.Replace(key, "%s", "other", 1))
	c.live(t, strings.Replace(key, "%s", "other", 1))
	c.refuse = func(method, object string) metav1.Status {
		if method+" "+object == "PATCH secrets/key" {
			return metav1.Status{Code: 422, Reason: metav1.StatusReasonInvalid, Message: "s3cret is not a valid value"}
		}
		return metav1.Status{}
	}
	got := c.preflight(t, 4)
	if len(got.Dangers) != 2 {
		t.Errorf("it is refused, and it would get an old value back: got %q", got.Dangers)
	}
	for _, d := range got.Dangers {
		if strings.Contains(d.What, "s3cret") || !strings.Contains(d.What, "Secret key") {
			t.Errorf("the danger names the Secret, and not its data: got %q", d.What)
		}
	}
}

// TestPreflightWithoutRights: the preflight goes on without the kinds that it may not list,
// and says what to grant. A kind that is not served needs no right.
func TestPreflightWithoutRights(t *testing.T) {
	for what, c := range map[string]struct {
		forbidden, hint string
	}{
		"a kind that sets weights":                   {"canaries/", "{apiGroups: [flagger.app], resources: [canaries], verbs: [list]}"},
		"a kind that sets weights and is not served": {"rollouts/", ""},
		"the autoscalers of the namespace":           {"horizontalpodautoscalers/", "grant backout `list` on horizontalpodautoscalers"},
	} {
		t.Run(what, func(t *testing.T) {
			cluster := newCluster(t)
			requests := false
			cluster.before = func(_, object string) int {
				if object == c.forbidden {
					requests = true
					return http.StatusForbidden
				}
				return 0
			}
			result := cluster.preflight(t, 2)
			if !requests {
				t.Fatalf("the preflight lists %s", c.forbidden)
			}
			expectDanger(t, result, "")
			if text := result.Note; (c.hint == "") != (text == "") || !strings.Contains(text, c.hint) {
				t.Errorf("a kind that is served may have objects, and the text says what to grant, %q: got %s", c.hint, text)
			}
		})
	}
}
