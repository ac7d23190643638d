package traffic

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	clienttesting "k8s.io/client-go/testing"

	"github.com/upcommerce/backout/rollback"
)

func TestWatchReportsChangesOfRoutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := cluster(t, canaryIngress(``))
		events := watch.NewRaceFreeFake()
		client.PrependWatchReactor("ingresses", func(clienttesting.Action) (bool, watch.Interface, error) { return true, events, nil })
		ctx, cancel := context.WithCancel(t.Context())
		var changes atomic.Int32
		covers := routerOn(client).Watch(ctx, "shop", "Ingress", func() { changes.Add(1) })
		synctest.Wait()
		if !covers() || changes.Load() != 1 {
			t.Fatalf("covers %t, %d changes; want the kind covered, and one check at the begin", covers(), changes.Load())
		}
		o := &unstructured.Unstructured{Object: object(t, ingressWeight("0"))}
		o.SetGeneration(1)
		for _, c := range []struct {
			what   string
			change func()
			want   int32
		}{
			{"an object that exists", func() {}, 2},
			{"its status", func() { o.Object["status"] = map[string]any{"loadBalancer": map[string]any{}} }, 2},
			{"an annotation", func() { o.SetAnnotations(map[string]string{weightAnnotation: "20"}) }, 3},
			{"its spec", func() { o.SetGeneration(2) }, 4},
		} {
			c.change()
			events.Modify(o.DeepCopy())
			synctest.Wait()
			if changes.Load() != c.want {
				t.Errorf("%s: %d changes, want %d", c.what, changes.Load(), c.want)
			}
		}
		cancel()
		synctest.Wait()
		if covers() {
			t.Error("a watch that has ended covers nothing")
		}
	})
}

// A watch that ends begins again, and then everything is checked once.
func TestAWatchBeginsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := cluster(t)
		var begun atomic.Int32
		client.PrependWatchReactor("ingresses", func(clienttesting.Action) (bool, watch.Interface, error) {
			events := watch.NewRaceFreeFake()
			if begun.Add(1) == 1 {
				events.Stop()
			}
			return true, events, nil
		})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var changes atomic.Int32
		covers := routerOn(client).Watch(ctx, "shop", "Ingress", func() { changes.Add(1) })
		time.Sleep(time.Second)
		synctest.Wait()
		if begun.Load() != 2 || changes.Load() != 2 || !covers() {
			t.Errorf("begun %d times, %d changes, covers %t; want two of both, and the kind covered", begun.Load(), changes.Load(), covers())
		}
	})
}

func TestAKindWithoutARouterIsNotWatched(t *testing.T) {
	if covers := routerOn(cluster(t)).Watch(t.Context(), "shop", "Poem", func() {}); covers != nil {
		t.Error("a kind that no router has is watched")
	}
}

func TestOnlyKindsThatAreServedAndReadableAreWatched(t *testing.T) {
	resource := schema.GroupResource{Resource: "ingresses"}
	for name, c := range map[string]struct {
		watch, list error
		covers      bool
		atMost      int32
	}{
		"not served":                 {apierrors.NewNotFound(resource, ""), apierrors.NewNotFound(resource, ""), false, 7},
		"not readable":               {apierrors.NewForbidden(resource, "", nil), apierrors.NewForbidden(resource, "", nil), false, 7},
		"readable and not watchable": {apierrors.NewForbidden(resource, "", nil), nil, false, 200},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client := cluster(t)
				var tries atomic.Int32
				client.PrependWatchReactor("*", func(clienttesting.Action) (bool, watch.Interface, error) {
					tries.Add(1)
					return true, nil, c.watch
				})
				client.PrependReactor("list", "*", func(clienttesting.Action) (bool, runtime.Object, error) {
					return c.list != nil, nil, c.list
				})
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				covers := routerOn(client).Watch(ctx, "shop", "Ingress", func() {})
				time.Sleep(time.Hour)
				synctest.Wait()
				if covers() != c.covers || tries.Load() > c.atMost {
					t.Errorf("covers %t, %d tries in an hour; want %t, and %d at most", covers(), tries.Load(), c.covers, c.atMost)
				}
			})
		})
	}
}

func TestWriterOfAWeight(t *testing.T) {
	at := func(minute int) *metav1.Time {
		return &metav1.Time{Time: time.Date(2026, 11, 27, 12, minute, 0, 0, time.UTC)}
	}
	entry := func(manager string, minute int, fields string) metav1.ManagedFieldsEntry {
		return metav1.ManagedFieldsEntry{Manager: manager, Operation: metav1.ManagedFieldsOperationUpdate, Time: at(minute), FieldsType: "FieldsV1", FieldsV1: metav1.NewFieldsV1(fields)}
	}
	const (
		annotation = `{"f:metadata":{"f:annotations":{".":{},"f:nginx.ingress.kubernetes.io/canary-weight":{}}}}`
		other      = `{"f:metadata":{"f:annotations":{"f:example.com/x":{}}},"f:status":{}}`
		rules      = `{"f:spec":{"f:rules":{}}}`
		replicas   = `{"f:spec":{"f:replicas":{}}}`
		own        = `{"f:metadata":{"f:annotations":{"f:backout.dev/held-rules":{},"f:backout.dev/held-weight":{}}}}`
		both       = `{"f:metadata":{"f:annotations":{"f:backout.dev/held-rules":{},"f:backout.dev/held-weight":{},"f:nginx.ingress.kubernetes.io/canary-weight":{}}}}`
		header     = `{"f:metadata":{"f:annotations":{"f:nginx.ingress.kubernetes.io/canary-by-header":{}}}}`
	)
	ruled := func(weight string) string {
		return canaryIngress(`, nginx.ingress.kubernetes.io/canary-by-header: x-canary, backout.dev/held-weight: "20 and header x-canary", backout.dev/held-rules: "{}", nginx.ingress.kubernetes.io/canary-weight: "` + weight + `"`)
	}
	for name, c := range map[string]struct {
		route  string
		fields []metav1.ManagedFieldsEntry
		want   string
	}{
		"the owner of the annotation":      {ingressWeight("20"), []metav1.ManagedFieldsEntry{entry("nginx", 9, other), entry("kubectl-annotate", 3, annotation)}, "kubectl-annotate"},
		"the last of several":              {ingressWeight("20"), []metav1.ManagedFieldsEntry{entry("argocd-controller", 5, annotation), entry("helm", 1, annotation)}, "argocd-controller"},
		"a list that is owned as a whole":  {backendRefs(`[{name: shop, port: 80, weight: 80}, {name: shop-canary, port: 80, weight: 20}]`), []metav1.ManagedFieldsEntry{entry("kustomize-controller", 5, rules)}, "kustomize-controller"},
		"replicas":                         {deployment("shop-canary", "canary", "1", 1), []metav1.ManagedFieldsEntry{entry("keda-operator", 5, replicas)}, "keda-operator"},
		"an object that does not say it":   {ingressWeight("20"), nil, ""},
		"a weight of zero has no writer":   {ingressWeight("0"), []metav1.ManagedFieldsEntry{entry("helm", 1, annotation)}, ""},
		"a controller after a shed":        {ruled("20"), []metav1.ManagedFieldsEntry{entry("backout", 5, own), entry("argocd-controller", 7, annotation)}, "argocd-controller"},
		"the rules alone after a shed":     {ruled("0"), []metav1.ManagedFieldsEntry{entry("argocd-controller", 7, header), entry("backout", 9, both)}, "argocd-controller"},
		"the last of weight and rules":     {ruled("20"), []metav1.ManagedFieldsEntry{entry("backout", 3, own), entry("argocd-controller", 7, header), entry("kubectl-edit", 8, annotation)}, "kubectl-edit"},
		"backout alone":                    {ruled("20"), []metav1.ManagedFieldsEntry{entry("nginx", 9, other), entry("backout", 5, both)}, "backout"},
		"managed fields that are not JSON": {ingressWeight("20"), []metav1.ManagedFieldsEntry{entry("helm", 1, "{")}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			live := &unstructured.Unstructured{Object: object(t, c.route)}
			live.SetManagedFields(c.fields)
			m := append(manifest(t, canaryService), live.Object)
			if live.GetKind() == "Deployment" {
				m = append(manifest(t, sharedService, stableService, deployment("shop", "stable", "4", 0)), live.Object)
			}
			kinds := newRegistry()
			routes, err := kinds.declaredRoutes(shop(), m, kinds.canaryOf(m, rollback.Track{}))
			if err != nil || len(routes) != 1 {
				t.Fatalf("routes %v, %v; want one", routes, err)
			}
			shed, err := routes[0].kind.router.shed(live, routes[0].canary)
			if err != nil {
				t.Fatal(err)
			}
			if got := writerOf(live, shed); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}
