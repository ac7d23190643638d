package charts_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/equality"
)

// pair returns the releases shop and shop-canary, where the second is the canary of the first, with additional values for both.
func pair(t *testing.T, set string) (shop, canary objects) {
	t.Helper()
	shop = install{release: "shop", set: "canary.enabled=false," + set, apis: []string{monitorAPI}}.render(t)
	canary = install{release: "shop-canary", set: "stable.enabled=false," + set, apis: []string{monitorAPI}}.render(t)
	return shop, canary
}

func TestCanaryAloneHasTheNameThatTheShopWouldGiveIt(t *testing.T) {
	for _, tt := range []struct {
		install install
		want    string
	}{
		{install{release: "shop-canary"}, "shop-canary-demo-canary"},
		{install{release: "canary-demo-canary"}, "canary-demo-canary"},
		{install{release: "next"}, "next-canary-demo-canary"},
		{install{release: "x", set: "fullnameOverride=shop"}, "shop-canary"},
		{install{release: "x", set: "fullnameOverride=shop-canary"}, "shop-canary"},
		{install{release: strings.Repeat("r", 46) + "-canary"}, strings.Repeat("r", 46) + "-canary-de-canary"},
	} {
		tt.install.set = "stable.enabled=false," + tt.install.set
		found := tt.install.render(t)
		for kind, names := range map[string][]string{
			"Deployments": slices.Collect(maps.Keys(found.deployments)), "Services": slices.Collect(maps.Keys(found.services)),
			"ConfigMaps": slices.Collect(maps.Keys(found.configs)), "Ingresses": slices.Collect(maps.Keys(found.ingresses)),
		} {
			if !slices.Equal(names, []string{tt.want}) {
				t.Errorf("release %q, %s: the %s are %q, want only %q", tt.install.release, tt.install.set, kind, names, tt.want)
			}
		}
	}
}

func TestCanaryAloneCoexistsWithTheShop(t *testing.T) {
	shop, canary := pair(t, "")
	main, split := shop.ingresses["shop-canary-demo"], canary.ingresses["shop-canary-demo-canary"]
	if main.Spec.Rules[0].Host != split.Spec.Rules[0].Host || *main.Spec.IngressClassName != *split.Spec.IngressClassName {
		t.Errorf("the canary splits the traffic of %s, the shop serves %s", split.Spec.Rules[0].Host, main.Spec.Rules[0].Host)
	}
	if split.Annotations["nginx.ingress.kubernetes.io/canary-weight"] != "20" || len(main.Annotations) > 0 {
		t.Errorf("the Ingresses have the annotations %v and %v, want the split only on the canary's", main.Annotations, split.Annotations)
	}
	for release, found := range map[string]objects{"shop": shop, "shop-canary": canary} {
		for name, service := range found.services {
			for _, other := range []objects{shop, canary} {
				for pods, deployment := range other.deployments {
					if selected := covers(deployment.Spec.Template.Labels, service.Spec.Selector); selected != (pods == name) {
						t.Errorf("Service %s selects the pods of %s: %t", name, pods, selected)
					}
				}
			}
			if monitor, ok := found.monitors[name]; !ok || !covers(service.Labels, monitor.Spec.Selector.MatchLabels) {
				t.Errorf("no monitor %s selects its Service: %v", name, found.monitors)
			}
			// backout pairs the releases by name, and instance distinguishes their series.
			labels := found.deployments[name].Spec.Template.Labels
			if labels["app.kubernetes.io/name"] != "canary-demo" || labels["app.kubernetes.io/instance"] != release {
				t.Errorf("release %s labels its pods %v", release, labels)
			}
		}
	}
	if track := canary.services["shop-canary-demo-canary"].Spec.Selector["track"]; track != "canary" {
		t.Errorf("the canary's Service selects the track %q", track)
	}
}

func TestShopsRouteCanUseTheCanaryOfAnotherRelease(t *testing.T) {
	shop := install{release: "shop", set: gateway + ",canary.enabled=false,gateway.canaryService=shop-canary-demo-canary,canary.weight=30"}.render(t)
	if split := backends(t, shop, "shop-canary-demo"); split != "shop-canary-demo 70, shop-canary-demo-canary 30" {
		t.Errorf("the shop's route has the backends %q", split)
	}
	canary := install{release: "shop-canary", set: "stable.enabled=false,routing=gateway"}.render(t)
	if len(canary.routes)+len(canary.ingresses) > 0 || canary.services["shop-canary-demo-canary"] == nil {
		t.Errorf("the canary's release has the routes %v and the Services %v, want a Service for the shop's route", canary.routes, canary.services)
	}
}

func TestCanaryIsTheSameAloneAndInTheShopsRelease(t *testing.T) {
	together, alone := install{}.render(t), install{set: "stable.enabled=false"}.render(t)
	if !equality.Semantic.DeepEqual(together.deployments["canary-demo-canary"], alone.deployments["canary-demo-canary"]) {
		t.Error("the canary's Deployment depends on whether there is a stable track")
	}
}
