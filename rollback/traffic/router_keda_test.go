package traffic

import (
	"slices"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	clienttesting "k8s.io/client-go/testing"

	"github.com/upcommerce/backout/rollback"
)

// scaledObject is a ScaledObject of the canary's Deployment with those annotations.
func scaledObject(annotations string) string {
	return `{apiVersion: keda.sh/v1alpha1, kind: ScaledObject, metadata: {name: shop, annotations: {` + annotations + `}}, spec: {minReplicaCount: 1, scaleTargetRef: {name: shop-canary}}}`
}

// plainShop are the objects of a canary behind a plain Service, and more of them.
func plainShop(more ...string) []string {
	return append([]string{sharedService, deployment("shop-canary", "canary", "3", 3), deployment("shop", "stable", "4", 4)}, more...)
}

// A shed pauses the ScaledObject of the canary's Deployment at zero, and a restore resumes it.
func TestScaledObjectIsPaused(t *testing.T) {
	for name, own := range map[string][]string{
		"the release declares it": {sharedService, deployment("shop-canary", "canary", "5", 3), deployment("shop", "stable", "4", 4), scaledObject("")},
		"another client made it":  plainShop(),
	} {
		t.Run(name, func(t *testing.T) {
			client, m := cluster(t, plainShop(scaledObject("a: b"))...), manifest(t, own...)
			r := routerOn(client)
			for range 2 { // A second shed changes nothing and still knows the weights.
				changed, err := r.Shed(t.Context(), shop(), m, nil, nil)
				if err != nil {
					t.Fatal(err)
				}
				if rollback.FormatWeights(changed) != "Deployment/shop-canary 3 -> 0, ScaledObject/shop autoscaling -> 0" {
					t.Errorf("the shed returned %s", rollback.FormatWeights(changed))
				}
				live := liveObject(t, client, object(t, scaledObject("")))
				if a := live.GetAnnotations(); a[pausedReplicas] != "0" || !marked(live) || a["a"] != "b" {
					t.Errorf("after the shed the annotations are %v", a)
				}
				if routing, err := r.Observe(t.Context(), shop(), m, rollback.Stored); err != nil || routing.Open() {
					t.Errorf("after the shed the canary gets nothing: %+v, %v", routing, err)
				}
			}
			restored, err := r.Restore(t.Context(), shop(), m, nil)
			if err != nil || rollback.FormatWeights(restored) != "Deployment/shop-canary 0 -> 3, ScaledObject/shop 0 -> autoscaling" {
				t.Errorf("the restore returned %s, %v", rollback.FormatWeights(restored), err)
			}
			if a := liveObject(t, client, object(t, scaledObject(""))).GetAnnotations(); len(a) != 1 {
				t.Errorf("after the restore the annotations are %v", a)
			}
		})
	}
}

// A ScaledObject that an operator has paused is left alone, whatever it was paused by.
func TestPauseOfAnOperatorIsLeftAlone(t *testing.T) {
	for annotations, left := range map[string]bool{
		pausedReplicas + `: "1"`:      true,
		paused + `: "true"`:           true,
		paused + `: "yes"`:            true, // KEDA takes it for true
		paused + `: "false"`:          false,
		`backout.dev/installation: x`: false,
	} {
		text := scaledObject(annotations)
		client, m := cluster(t, plainShop(text)...), manifest(t, plainShop(text)...)
		r := routerOn(client)
		routing, err := r.Observe(t.Context(), shop(), m, rollback.Stored)
		if said := len(routing.Missed) == 1 && strings.Contains(routing.Missed[0], "at 1 replicas of Deployment shop-canary"); err != nil || said != strings.Contains(annotations, `"1"`) {
			t.Errorf("%s: says %q, %v", annotations, routing.Missed, err)
		}
		before := liveObject(t, client, object(t, text)).GetAnnotations()
		if _, err := r.Shed(t.Context(), shop(), m, nil, nil); err != nil {
			t.Fatal(err)
		}
		if routing, err := r.Observe(t.Context(), shop(), m, rollback.Stored); err != nil || routing.Open() {
			t.Errorf("%s: after the shed the canary gets nothing: %+v, %v", annotations, routing, err)
		}
		if marked(liveObject(t, client, object(t, text))) == left {
			t.Errorf("%s: left alone is %t, want %t", annotations, !left, left)
		}
		if _, err := r.Restore(t.Context(), shop(), m, nil); err != nil {
			t.Fatal(err)
		}
		if after := liveObject(t, client, object(t, text)).GetAnnotations(); len(after) != len(before) {
			t.Errorf("%s: after the restore the annotations are %v", annotations, after)
		}
	}
}

// Without the right to read ScaledObjects the replicas go to zero, and backout says what KEDA does.
func TestScaledObjectsThatMayNotBeRead(t *testing.T) {
	client, m := cluster(t, plainShop(scaledObject(""))...), manifest(t, plainShop(scaledObject(""))...)
	client.PrependReactor("*", "scaledobjects", func(a clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, apierrors.NewForbidden(a.GetResource().GroupResource(), "", nil)
	})
	r := routerOn(client)
	routing, err := r.Observe(t.Context(), shop(), m, rollback.Stored)
	says := func(text string) bool {
		return strings.Contains(text, "backout may not read scaledobjects.keda.sh") && strings.Contains(text, "Deployment shop-canary")
	}
	if err != nil || !slices.ContainsFunc(routing.Missed, says) {
		t.Errorf("got %q, %v", routing.Missed, err)
	}
	if changed, err := r.Shed(t.Context(), shop(), m, routing.Observation, nil); err != nil || rollback.FormatWeights(changed) != "Deployment/shop-canary 3 -> 0" {
		t.Errorf("the shed returned %v, %v", changed, err)
	}
}

// A hold that an operator ends by giving the Deployment replicas, or the ScaledObject a number of
// them, leaves no pause of backout behind.
func TestUnmarkResumesKEDA(t *testing.T) {
	deployments := schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}
	scaled := schema.GroupVersionResource{Group: "keda.sh", Version: "v1alpha1", Resource: "scaledobjects"}
	for name, c := range map[string]struct {
		resource     schema.GroupVersionResource
		object, edit string
		want         map[string]string
	}{
		"replicas of the Deployment": {deployments, "shop-canary", `{"spec":{"replicas":1}}`, map[string]string{}},
		"paused replicas":            {scaled, "shop", `{"metadata":{"annotations":{"autoscaling.keda.sh/paused-replicas":"2"}}}`, map[string]string{pausedReplicas: "2"}},
		"nothing":                    {deployments, "shop-canary", `{}`, map[string]string{pausedReplicas: "0", heldAnnotation: autoscaling}},
	} {
		t.Run(name, func(t *testing.T) {
			client, m := cluster(t, plainShop(scaledObject(""))...), manifest(t, plainShop()...)
			r := routerOn(client)
			if _, err := r.Shed(t.Context(), shop(), m, nil, nil); err != nil {
				t.Fatal(err)
			}
			if _, err := client.Resource(c.resource).Namespace("shop").Patch(t.Context(), c.object, types.MergePatchType, []byte(c.edit), metav1.PatchOptions{}); err != nil {
				t.Fatal(err)
			}
			if routing, err := r.Observe(t.Context(), shop(), m, rollback.Stored); err != nil || routing.Open() == (name == "nothing") {
				t.Errorf("the canary gets traffic unless nothing was done: %+v, %v", routing, err)
			}
			if err := r.Unmark(t.Context(), shop(), m); err != nil {
				t.Fatal(err)
			}
			got := liveObject(t, client, object(t, scaledObject(""))).GetAnnotations()
			if len(got) != len(c.want) || got[pausedReplicas] != c.want[pausedReplicas] || got[heldAnnotation] != c.want[heldAnnotation] {
				t.Errorf("the annotations are %v, want %v", got, c.want)
			}
		})
	}
}

// A canary that stays at zero while Helm writes its release is not scaled by KEDA either.
func TestHoldTargetPausesWhatHelmWrites(t *testing.T) {
	m := manifest(t, plainShop(scaledObject("a: b"))...)
	hold, err := routerOn(cluster(t, plainShop()...)).HoldTarget(t.Context(), shop(), m)
	if err != nil {
		t.Fatal(err)
	}
	written := object(t, scaledObject("a: b"))
	hold(written)
	o := &unstructured.Unstructured{Object: written}
	if a := o.GetAnnotations(); a[pausedReplicas] != "0" || !marked(o) || a["a"] != "b" {
		t.Errorf("the annotations are %v", a)
	}
}

// The mark on a ScaledObject is that of its Deployment.
func TestMarkOfAScaledObjectIsNotStray(t *testing.T) {
	live := snapshot{kinds: newRegistry().listed(), objects: map[schema.GroupResource][]unstructured.Unstructured{}}
	o := unstructured.Unstructured{Object: object(t, scaledObject(heldAnnotation+": autoscaling"))}
	live.objects[schema.GroupResource{Group: "keda.sh", Resource: "scaledobjects"}] = []unstructured.Unstructured{o}
	if got := live.strayMarks(map[series]liveShare{{route: "Deployment/shop-canary"}: {}}); len(got) > 0 {
		t.Errorf("got %v", got)
	}
	if got := live.strayMarks(nil); len(got) != 1 || got[0] != "ScaledObject.keda.sh/shop" {
		t.Errorf("got %v", got)
	}
}
