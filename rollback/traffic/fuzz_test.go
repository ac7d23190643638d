package traffic

import (
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/json"
	"k8s.io/apimachinery/pkg/util/sets"
	"sigs.k8s.io/yaml"

	"github.com/upcommerce/backout/rollback"
)

// FuzzRoute has every router read an object that any client of the namespace may have written, as the live object, as the declared one and
// as a neighbour. A router may refuse it; it must not panic, and must name a weight that it changes.
func FuzzRoute(f *testing.F) {
	for _, text := range []string{
		ingressWeight("20"), stableIngress, deployment("shop-canary", "canary", "1", 1), sharedService, autoscaler, subsets,
		backendRefs("[{name: shop, weight: 80}, {name: shop-canary, weight: 20}]"),
		virtualService + "http: [{route: [{destination: {host: shop-canary}, weight: 20}, {destination: {host: shop, subset: v2}, weight: 80}]}]}}",
		traefikService + "[{name: shop-canary, weight: 1}, {name: shop, weight: 3}]}}}",
		httpProxy + "{routes: [{services: [{name: shop-canary, weight: 20}, {name: shop, weight: 80}]}]}}",
		virtualServer + "[{path: /, matches: [{conditions: [{header: x, value: y}], splits: [{weight: 9, action: {pass: new}}]}], splits: [{weight: 1, action: {proxy: {upstream: old}}}, {weight: 5, action: {pass: new}}]}]}}",
		openshiftRoute + "to: {name: shop, weight: 200}, alternateBackends: [{name: shop-canary, weight: 200}]}}",
		routeGroups + "defaultBackends: [{backendName: old}, {backendName: new}], routes: [{backends: [{backendName: new, weight: 3}]}]}}",
		awsIngress(targetGroup("shop", "990")+","+targetGroup("shop-canary", "20"), ""), skipperIngress(`{"shop": 0.5, "shop-canary": -2}`),
		awsIngress(`{"ServiceName":"shop-canary"},7,null`, `,"targetGroups":{}`),
		"spec: {to: 7, alternateBackends: {}, routes: [{matches: {}, splits: [7], action: []}], subroutes: 3}",
		"spec: {routes: [{services: [{name: shop-canary, weight: -1}, {name: 7}]}, 3, null, {services: {}}]}",
		"metadata: {annotations: {backout.dev/held-weight: '{', backout.dev/held-rules: x, backout.dev/canary: ' , ,a/b'}}\nspec: {rules: [{http: null}]}",
	} {
		f.Add(must(yaml.YAMLToJSON([]byte(text))))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		object := &unstructured.Unstructured{}
		if err := json.Unmarshal(text, &object.Object); err != nil || object.Object == nil {
			return // the API server stores objects only
		}
		all := newRegistry()
		all.canaryOf(rollback.Manifest{object.Object}, rollback.Track{})
		for id, k := range all {
			c := canary{
				services: sets.New("shop-canary", "shop/v2"), subsets: map[string]labels.Set{"shop/v2": {"track": "canary"}},
				deployments: sets.New("shop-canary"), others: sets.New("shop"), ownServices: sets.New("shop", "shop-canary"), tracked: true,
			}.on(object)
			neighbours := []unstructured.Unstructured{*object.DeepCopy(), {Object: map[string]any{}}}
			_, _ = k.router.leads(object, c)
			k.router.observe(object, c, neighbours)
			k.router.shares(object, c, neighbours)
			if e, err := k.router.shed(object, c); err == nil && len(e.operations) > 0 && len(e.weights) == 0 {
				t.Errorf("%s: a shed changes %v and names no weight", id, e.operations)
			}
			_, _ = k.router.restore(object, object, c)
			_, _ = k.router.restore(object, nil, c)
			k.router.hold(object.DeepCopy(), object, c)
			k.router.hold(object.DeepCopy(), nil, c)
		}
	})
}
