package traffic

import (
	"context"
	"testing"
	"testing/synctest"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	clienttesting "k8s.io/client-go/testing"
)

// A kind that a cluster serves in an older version is found, shed, shown and watched.
func TestOlderVersion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const route = `{apiVersion: gateway.networking.k8s.io/v1alpha3, kind: TLSRoute, metadata: {name: shop}, spec: {rules: [{backendRefs: [{name: shop, weight: 3}, {name: shop-canary, weight: 1}]}]}}`
		client := cluster(t, append(of(t, "web", canaryService), route)...)
		absent := func(a clienttesting.Action) (bool, runtime.Object, error) {
			r := a.GetResource()
			return r.Version != "v1alpha3", nil, apierrors.NewNotFound(r.GroupResource(), "")
		}
		client.PrependReactor("list", "tlsroutes", absent)
		client.PrependWatchReactor("tlsroutes", func(a clienttesting.Action) (bool, watch.Interface, error) {
			_, _, err := absent(a)
			return a.GetResource().Version != "v1alpha3", nil, err
		})
		ctx, cancel := context.WithCancel(t.Context())
		covers := routerOn(client).Watch(ctx, "shop", "TLSRoute", func() {})
		synctest.Wait()
		if !covers() {
			t.Error("the served version is not watched")
		}
		cancel()
		g := gaugeOf(t, client, web)
		g.poll(t.Context(), "shop")
		if got := g.scrape(t)["web TLSRoute/shop"]; got != 25 {
			t.Errorf("the gauge shows %v%%: %v", got, g.scrape(t))
		}
		changed, err := routerOn(client).Shed(t.Context(), shop(), manifest(t, canaryService), nil, nil)
		if err != nil || len(changed) != 1 || changed[0].String() != "TLSRoute/shop 1 -> 0" {
			t.Errorf("the shed returned %v, %v", changed, err)
		}
	})
}
