package traffic

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/fake"
	"sigs.k8s.io/yaml"

	"github.com/upcommerce/backout/rollback"
)

func shop() rollback.Key { return rollback.Key{Namespace: "shop", Release: "shop"} }

// Objects of release shop. Those that end in an open brace lack their lists of backends.
const (
	canaryService  = `{apiVersion: v1, kind: Service, metadata: {name: shop-canary}, spec: {selector: {track: canary}}}`
	sharedService  = `{apiVersion: v1, kind: Service, metadata: {name: shop}, spec: {selector: {app: shop}}}`
	stableService  = `{apiVersion: v1, kind: Service, metadata: {name: shop-stable}, spec: {selector: {app: shop, track: stable}}}`
	autoscaler     = `{apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, metadata: {name: shop}, spec: {scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: shop-canary}}}`
	stableIngress  = `{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {name: shop}, spec: {rules: [{host: shop.example, http: {paths: [{path: /, backend: {service: {name: shop}}}]}}]}}`
	virtualService = `{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: shop}, spec: {hosts: [shop.example], `
	subsets        = `{apiVersion: networking.istio.io/v1, kind: DestinationRule, metadata: {name: shop}, spec: {host: shop.shop.svc.cluster.local, subsets: [{name: v1, labels: {track: stable}}, {name: v2, labels: {track: canary}}]}}`
	traefikService = `{apiVersion: traefik.io/v1alpha1, kind: TraefikService, metadata: {name: shop}, spec: {weighted: {services: `
	virtualServer  = `{apiVersion: k8s.nginx.org/v1, kind: VirtualServer, metadata: {name: shop}, spec: {host: shop.example, upstreams: [{name: old, service: shop, port: 80}, {name: new, service: shop-canary, port: 80}, {name: beta, service: shop-beta, port: 80}], routes: `
	openshiftRoute = `{apiVersion: route.openshift.io/v1, kind: Route, metadata: {name: shop}, spec: {host: shop.example, `
	routeGroups    = `{apiVersion: zalando.org/v1, kind: RouteGroup, metadata: {name: shop}, spec: {backends: [{name: old, type: service, serviceName: shop}, {name: new, type: service, serviceName: shop-canary}, {name: none, type: shunt}], `
	httpProxy      = `{apiVersion: projectcontour.io/v1, kind: HTTPProxy, metadata: {name: shop}, spec: `
)

// backendRefs is an HTTPRoute with one rule.
func backendRefs(refs string) string {
	return `{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: shop}, spec: {rules: [{backendRefs: ` + refs + `}]}}`
}

// httpRoute is an HTTPRoute with those rules.
func httpRoute(t *testing.T, rules string) rollback.Object {
	t.Helper()
	return object(t, `{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: shop, namespace: shop, resourceVersion: "7"}, spec: {rules: `+rules+`}}`)
}

func httpRoutes() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: "gateway.networking.k8s.io", Version: "v1", Resource: "httproutes"}
}

// canaryIngress is a canary Ingress with more annotations, each after a comma.
func canaryIngress(annotations string) string {
	return `{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {name: shop-canary, annotations: {nginx.ingress.kubernetes.io/canary: "true"` + annotations + `}},
		spec: {rules: [{host: shop.example, http: {paths: [{path: /, backend: {service: {name: shop-canary}}}]}}]}}`
}

// awsIngress is an Ingress that uses an action with those target groups, and more fields of its
// forwardConfig, each after a comma.
func awsIngress(groups, more string) string {
	return `{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {name: shop, annotations: {alb.ingress.kubernetes.io/scheme: internal,
		alb.ingress.kubernetes.io/actions.split: '{"type":"forward","forwardConfig":{"targetGroups":[` + groups + `]` + more + `}}'}},
		spec: {rules: [{host: shop.example, http: {paths: [{path: /, backend: {service: {name: split, port: {name: use-annotation}}}}]}}]}}`
}

// targetGroup is a target group of an action with the Service.
func targetGroup(service, weight string) string {
	return `{"serviceName":"` + service + `","servicePort":80,"weight":` + weight + `}`
}

// skipperIngress is an Ingress with those weights, of Services at one path.
func skipperIngress(weights string) string {
	return `{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {name: shop, annotations: {zalando.org/backend-weights: '` + weights + `'}},
		spec: {rules: [{host: shop.example, http: {paths: [{path: /, backend: {service: {name: shop}}}, {path: /, backend: {service: {name: shop-canary}}}]}}]}}`
}

func ingressWeight(w string) string {
	return canaryIngress(`, nginx.ingress.kubernetes.io/canary-weight: "` + w + `"`)
}

// deployment is a Deployment of a track with that many replicas in its spec, "" for none
// declared, and that many ready pods.
func deployment(name, track, replicas string, ready int) string {
	if replicas != "" {
		replicas = "replicas: " + replicas + ", "
	}
	return fmt.Sprintf(`{apiVersion: apps/v1, kind: Deployment, metadata: {name: %s}, spec: {%stemplate: {metadata: {labels: {app: shop, track: %s, deployment: %s}}, spec: {containers: []}}}, status: {readyReplicas: %d}}`,
		name, replicas, track, name, ready)
}

// Conditions of endpoints.
const (
	ready   = `{ready: true}`
	unready = `{ready: false}`
)

// endpoints is an EndpointSlice of the Service with one endpoint.
func endpoints(service, conditions string) string {
	return `{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, addressType: IPv4, metadata: {name: ` + service + `-1, labels: {kubernetes.io/service-name: ` + service + `}},
		endpoints: [{addresses: [10.0.0.9], conditions: ` + conditions + `, targetRef: {kind: Pod, name: ` + service + `-0}}]}`
}

func object(t *testing.T, text string) rollback.Object {
	t.Helper()
	var o rollback.Object
	if err := yaml.Unmarshal([]byte(text), &o); err != nil {
		t.Fatal(err)
	}
	return o
}

func manifest(t *testing.T, texts ...string) rollback.Manifest {
	t.Helper()
	var m rollback.Manifest
	for _, text := range texts {
		m = append(m, object(t, text))
	}
	return m
}

func must(text []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return text
}

// cluster is a fake cluster with the objects, all in namespace shop.
func cluster(t *testing.T, objects ...string) *fake.FakeDynamicClient {
	t.Helper()
	lists := map[schema.GroupVersionResource]string{
		{Group: "discovery.k8s.io", Version: "v1", Resource: "endpointslices"}:           "EndpointSliceList",
		{Version: "v1", Resource: "pods"}:                                                "PodList",
		{Version: "v1", Resource: "services"}:                                            "ServiceList",
		{Group: "apps", Version: "v1", Resource: "deployments"}:                          "DeploymentList",
		{Group: "apps", Version: "v1", Resource: "daemonsets"}:                           "DaemonSetList",
		{Group: "apps", Version: "v1", Resource: "statefulsets"}:                         "StatefulSetList",
		{Group: "networking.istio.io", Version: "v1beta1", Resource: "destinationrules"}: "DestinationRuleList",
	}
	for group, kind := range newRegistry() {
		for _, version := range []string{"v1", "v1alpha1", "v1alpha2", "v1alpha3", "v1beta1"} {
			lists[schema.GroupVersionResource{Group: group.Group, Version: version, Resource: kind.resource}] = group.Kind + "List"
		}
	}
	var all []runtime.Object
	for _, o := range objects {
		u := &unstructured.Unstructured{Object: object(t, o)}
		u.SetNamespace("shop")
		u.SetResourceVersion("7")
		all = append(all, u)
	}
	return fake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), lists, all...)
}

// routerOn returns a Router of a fake cluster.
func routerOn(client dynamic.Interface) *Router {
	return &Router{objects: client, kinds: newRegistry()}
}

// routerWith returns a Router of a cluster with the one HTTPRoute, and a function that reads
// it.
func routerWith(t *testing.T, o rollback.Object) (*Router, func() rollback.Object) {
	t.Helper()
	client := cluster(t, string(must(yaml.Marshal(o))))
	return routerOn(client), func() rollback.Object { return liveObject(t, client, o).Object }
}

// liveObject reads an object of the fake cluster.
func liveObject(t *testing.T, client dynamic.Interface, o rollback.Object) *unstructured.Unstructured {
	t.Helper()
	u := &unstructured.Unstructured{Object: o}
	gvk := u.GroupVersionKind()
	resource := gvk.GroupVersion().WithResource(newRegistry()[gvk.GroupKind()].resource)
	found, err := client.Resource(resource).Namespace("shop").Get(t.Context(), u.GetName(), metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// listWeights renders the weights of every list of an object: "80 20 | 1 -".
func listWeights(o rollback.Object) string {
	u := &unstructured.Unstructured{Object: o}
	var lists []string
	w, view, _ := weightedOf(newRegistry()[u.GroupVersionKind().GroupKind()].router, u)
	for _, l := range w.listsOf(view) {
		var parts []string
		for _, e := range l.entries {
			part := "-"
			if w, ok := e.(map[string]any)["weight"]; ok {
				part = strings.TrimSpace(string(must(yaml.Marshal(w))))
			}
			parts = append(parts, part)
		}
		lists = append(lists, strings.Join(parts, " "))
	}
	return strings.Join(lists, " | ")
}

// ignoreObservation leaves out what Observe passes to Shed.
func ignoreObservation() cmp.Option { return cmpopts.IgnoreFields(rollback.Routing{}, "Observation") }
