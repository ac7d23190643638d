package traffic

import (
	"maps"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/upcommerce/backout/rollback"
)

// A client whose session is on the canary stays there whatever its weight is, unless the canary Ingress ignores sessions: the shed has it
// ignore them, and the restore undoes that.
func TestAShedMovesClientsWithASession(t *testing.T) {
	const (
		prefix = "nginx.ingress.kubernetes.io/"
		sticky = ", " + sessionsAnnotation + ": sticky"
		own    = ", " + affinityAnnotation + ": cookie"
		legacy = ", " + sessionsAnnotation + ": legacy"
		twenty = ", " + weightAnnotation + `: "20"`
	)
	main := strings.Replace(stableIngress, "name: shop}", "name: shop, annotations: {"+affinityAnnotation+": cookie, "+prefix+"session-cookie-name: seat}}", 1)
	note := func(value string) string { return `{"` + sessionsAnnotation + `":"` + value + `"}` }
	for name, c := range map[string]struct {
		main, canary string
		// shed are the annotations after the shed, but for the flag.
		shed map[string]string
	}{
		"by default": {
			main, twenty,
			map[string]string{weightAnnotation: "0", heldAnnotation: "20", sessionsAnnotation: "legacy", heldRulesAnnotation: note("")},
		},
		"declared": {
			main, twenty + sticky,
			map[string]string{weightAnnotation: "0", heldAnnotation: "20", sessionsAnnotation: "legacy", heldRulesAnnotation: note("sticky")},
		},
		"ignored already": {
			main, twenty + legacy,
			map[string]string{weightAnnotation: "0", heldAnnotation: "20", sessionsAnnotation: "legacy"},
		},
		"the weight is zero already": {
			main, "",
			map[string]string{heldAnnotation: "0", sessionsAnnotation: "legacy", heldRulesAnnotation: note("")},
		},
		"the canary's own, which the router does not read": {
			stableIngress, twenty + own,
			map[string]string{
				weightAnnotation: "0", heldAnnotation: "20", sessionsAnnotation: "legacy", affinityAnnotation: "cookie", heldRulesAnnotation: note(""),
			},
		},
		"no sessions": {stableIngress, twenty, map[string]string{weightAnnotation: "0", heldAnnotation: "20"}},
	} {
		for _, declared := range []bool{true, false} {
			t.Run(name+map[bool]string{true: "", false: ", the main Ingress is not the release's"}[declared], func(t *testing.T) {
				client := cluster(t, c.main, canaryIngress(c.canary))
				r := routerOn(client)
				m := manifest(t, canaryService, canaryIngress(c.canary))
				if declared {
					m = append(m, object(t, c.main))
				}
				before := liveObject(t, client, m[1]).GetAnnotations()
				for range 2 {
					routing, err := r.Observe(t.Context(), shop(), m, rollback.Stored)
					if err != nil {
						t.Fatal(err)
					}
					if _, err := r.Shed(t.Context(), shop(), m, routing.Observation, nil); err != nil {
						t.Fatal(err)
					}
					want := maps.Clone(c.shed)
					want[canaryFlag] = "true"
					if diff := cmp.Diff(want, liveObject(t, client, m[1]).GetAnnotations()); diff != "" {
						t.Errorf("after the shed (-want +got):\n%s", diff)
					}
				}
				if _, err := r.Restore(t.Context(), shop(), m, nil); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(before, liveObject(t, client, m[1]).GetAnnotations()); diff != "" {
					t.Errorf("after the restore (-want +got):\n%s", diff)
				}
				if _, err := r.Shed(t.Context(), shop(), m, nil, nil); err != nil {
					t.Fatal(err)
				}
				raise := `{"metadata": {"annotations": {"` + weightAnnotation + `": "30"}}}`
				ingresses := client.Resource(schema.GroupVersionResource{Group: "networking.k8s.io", Version: "v1", Resource: "ingresses"}).Namespace("shop")
				if _, err := ingresses.Patch(t.Context(), "shop-canary", types.MergePatchType, []byte(raise), metav1.PatchOptions{}); err != nil {
					t.Fatal(err)
				}
				if err := r.Unmark(t.Context(), shop(), m); err != nil {
					t.Fatal(err)
				}
				raised := maps.Clone(before)
				raised[weightAnnotation] = "30"
				if diff := cmp.Diff(raised, liveObject(t, client, m[1]).GetAnnotations()); diff != "" {
					t.Errorf("an operator has given the canary a weight (-want +got):\n%s", diff)
				}
			})
		}
	}
}

// The object that Helm writes during a hold ignores sessions, too.
func TestAHoldIgnoresSessions(t *testing.T) {
	o := object(t, canaryIngress(", "+sessionsAnnotation+": sticky, "+affinityAnnotation+": cookie"))
	newRegistry().holdIn(rollback.Manifest{o}, rollback.Track{}, nil)(o)
	want := map[string]string{canaryFlag: "true", weightAnnotation: "0", sessionsAnnotation: "legacy", affinityAnnotation: "cookie"}
	if diff := cmp.Diff(want, (&unstructured.Unstructured{Object: o}).GetAnnotations()); diff != "" {
		t.Errorf("the object that Helm writes (-want +got):\n%s", diff)
	}
}

// A controller that puts the weight and the rules back does not make the next shed forget how the canary kept sessions.
func TestTheSecondShedRemembersSessions(t *testing.T) {
	rules := ", " + weightAnnotation + `: "20", ` + headerAnnotation + ": x-canary"
	note := `{"` + sessionsAnnotation + `":"sticky","` + headerAnnotation + `":"x-canary"}`
	client := cluster(t, canaryIngress(rules+", "+heldAnnotation+`: "20 and header x-canary", `+sessionsAnnotation+": legacy, "+heldRulesAnnotation+`: '`+note+`'`))
	declared := canaryIngress(rules + ", " + sessionsAnnotation + ": sticky")
	r, m := routerOn(client), manifest(t, declared)
	annotations := func() map[string]string { return liveObject(t, client, m[0]).GetAnnotations() }
	for range 2 {
		if _, err := r.Shed(t.Context(), shop(), m, nil, nil); err != nil {
			t.Fatal(err)
		}
		want := map[string]string{canaryFlag: "true", weightAnnotation: "0", heldAnnotation: "20 and header x-canary", sessionsAnnotation: "legacy", heldRulesAnnotation: note}
		if diff := cmp.Diff(want, annotations()); diff != "" {
			t.Errorf("shed again (-want +got):\n%s", diff)
		}
	}
	if _, err := r.Restore(t.Context(), shop(), m, nil); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff((&unstructured.Unstructured{Object: m[0]}).GetAnnotations(), annotations()); diff != "" {
		t.Errorf("restored (-want +got):\n%s", diff)
	}
}
