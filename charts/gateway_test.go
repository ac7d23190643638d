package charts_test

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// gateway are the values of a release with a route on the Gateway shared.
const gateway = "routing=gateway,gateway.parentRefs[0].name=shared"

func TestRouteSplitsByWeight(t *testing.T) {
	for _, tt := range []struct {
		percent int32
		want    string
	}{{20, "canary-demo 80, canary-demo-canary 20"}, {0, "canary-demo 100, canary-demo-canary 0"}, {100, "canary-demo 0, canary-demo-canary 100"}} {
		found := install{set: gateway + ",canary.weight=" + strconv.Itoa(int(tt.percent))}.render(t)
		if split := backends(t, found, "canary-demo"); split != tt.want {
			t.Errorf("canary.weight=%d renders %q, want %q", tt.percent, split, tt.want)
		}
		if len(found.ingresses) > 0 {
			t.Errorf("routing=gateway also renders the Ingresses %v", slices.Collect(maps.Keys(found.ingresses)))
		}
	}
	if split := backends(t, install{set: gateway + ",canary.enabled=false"}.render(t), "canary-demo"); split != "canary-demo" {
		t.Errorf("without a canary the route has the backends %q, want only the stable track", split)
	}
	if routes := (install{}).render(t).routes; len(routes) > 0 {
		t.Errorf("routing=ingress renders %d HTTPRoutes", len(routes))
	}
}

// backends returns the backends of a route's only rule, as "a 80, b 20". A backend that is not a port of one of the release's
// Services fails the test, unless it is another release's, whose name ends in -canary.
func backends(t *testing.T, found objects, name string) string {
	t.Helper()
	route, ok := found.routes[name]
	if !ok || len(route.Spec.Rules) != 1 {
		t.Fatalf("no HTTPRoute %s with one rule among %v", name, found.routes)
	}
	var split []string
	for _, ref := range route.Spec.Rules[0].BackendRefs {
		service, ok := found.services[ref.Name]
		if ok && service.Spec.Ports[0].Port != ref.Port || !ok && !strings.HasSuffix(ref.Name, "-canary") {
			t.Errorf("the route has the backend %s:%d, which is not one of the release's Services", ref.Name, ref.Port)
		}
		part := ref.Name
		if ref.Weight != nil {
			part += " " + strconv.Itoa(int(*ref.Weight))
		}
		split = append(split, part)
	}
	return strings.Join(split, ", ")
}

func TestRouteNamesItsGatewaysAndHosts(t *testing.T) {
	route := install{release: "shop", set: gateway + ",gateway.parentRefs[0].namespace=gateways,gateway.parentRefs[0].sectionName=web,gateway.parentRefs[0].port=8000,gateway.parentRefs[1].name=other,gateway.hostnames={a.example,*.b.example},service.port=8080"}.render(t).routes["shop-canary-demo"]
	if route.APIVersion != "gateway.networking.k8s.io/v1" || route.Metadata.Namespace != "canary-demo" {
		t.Errorf("the route is %s in %s", route.APIVersion, route.Metadata.Namespace)
	}
	want := []parentRef{{Namespace: "gateways", Name: "shared", SectionName: "web", Port: 8000}, {Name: "other"}}
	if diff := cmp.Diff(want, route.Spec.ParentRefs); diff != "" {
		t.Errorf("the route's Gateways (-want +got):\n%s", diff)
	}
	if hosts := route.Spec.Hostnames; !slices.Equal(hosts, []string{"a.example", "*.b.example"}) {
		t.Errorf("the route has the hosts %q", hosts)
	}
	if _, ok := route.Metadata.Labels["track"]; ok || route.Metadata.Labels["app.kubernetes.io/instance"] != "shop" {
		t.Errorf("the route has the labels %v; it belongs to the release and to no track", route.Metadata.Labels)
	}
	if hosts := (install{set: gateway}).render(t).routes["canary-demo"].Spec.Hostnames; !slices.Equal(hosts, []string{"canary-demo.local"}) {
		t.Errorf("by default the route has the hosts %q, want the host of the exercise", hosts)
	}
}
