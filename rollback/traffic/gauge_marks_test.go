package traffic

import (
	"slices"
	"strings"
	"testing"
)

// A mark on an object behind which there is no canary of an opted-in release is nothing that a
// revision would end.
func TestAGaugeFindsStrayMarks(t *testing.T) {
	const mark = `annotations: {backout.dev/held-weight: '{"rule 1":{"shop-canary":{"weight":20}}}'}`
	const zero = `[{name: shop, weight: 100}, {name: shop-canary, weight: 0}]`
	marked := func(lists string) string {
		return strings.Replace(backendRefs(lists), "metadata: {name: shop", "metadata: {"+mark+", name: shop", 1)
	}
	kept := strings.Replace(deployment("shop-canary", "canary", "0", 0), "metadata: {name: shop-canary", "metadata: {"+mark+", name: shop-canary", 1)
	for name, c := range map[string]struct {
		live []string
		want []string
	}{
		"the release is gone":                   {[]string{marked(zero)}, []string{"HTTPRoute.gateway.networking.k8s.io/shop"}},
		"its Deployment stayed":                 {[]string{kept, marked(zero)}, []string{"Deployment.apps/shop-canary", "HTTPRoute.gateway.networking.k8s.io/shop"}},
		"no mark":                               {[]string{backendRefs(zero)}, nil},
		"the release exists":                    {append(of(t, "web", canaryService), marked(zero)), nil},
		"the release exists, and has two lists": {append(of(t, "web", canaryService), marked(zero+"}, {backendRefs: "+zero)), nil},
		"the release is not opted in":           {append(of(t, "blog", canaryService), marked(zero)), []string{"HTTPRoute.gateway.networking.k8s.io/shop"}},
	} {
		t.Run(name, func(t *testing.T) {
			g := gaugeOf(t, cluster(t, c.live...), web)
			got := []string{"not called"}
			g.stray = func(namespace string, routes []string) {
				if namespace != "shop" {
					t.Errorf("namespace %q, want shop", namespace)
				}
				got = routes
			}
			g.poll(t.Context(), "shop")
			if !slices.Equal(got, c.want) {
				t.Errorf("the marked objects are %q, want %q", got, c.want)
			}
		})
	}
}
