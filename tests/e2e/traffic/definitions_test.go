package traffic

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"
)

// published is a Go module in which a router's authors publish the definitions of its
// kinds. The modules are only downloaded, not built.
type published struct {
	module, version string
	// sum is the module's sum, as in go.sum.
	sum string
	// files are the paths of the definitions in the module, kinds the wanted kinds.
	files, kinds []string
}

func definitions() []published {
	return []published{
		{
			module: "sigs.k8s.io/gateway-api", version: "v1.5.1", sum: "h1:RqVRIlkhLhUO8wOHKTLnTJA6o/1un4po4/6M1nRzdd0=",
			files: []string{
				"config/crd/standard/gateway.networking.k8s.io_httproutes.yaml", "config/crd/standard/gateway.networking.k8s.io_grpcroutes.yaml",
				"config/crd/standard/gateway.networking.k8s.io_tlsroutes.yaml", "config/crd/experimental/gateway.networking.k8s.io_tcproutes.yaml",
				"config/crd/experimental/gateway.networking.k8s.io_udproutes.yaml",
			},
			kinds: []string{"HTTPRoute", "GRPCRoute", "TLSRoute", "TCPRoute", "UDPRoute"},
		},
		{
			module: "istio.io/api", version: "v1.31.1", sum: "h1:5Yb5ihcz4YQsCkciusK7DnFpBMwRB6EFWeUKH1Atuyk=",
			files: []string{"kubernetes/customresourcedefinitions.gen.yaml"},
			kinds: []string{"VirtualService", "DestinationRule"},
		},
		{
			module: "github.com/traefik/traefik/v3", version: "v3.7.13", sum: "h1:T8wy9KuaFzCkmXCqAzDy7t73pBDR1DHrJe3pqXpNXTw=",
			files: []string{
				"docs/content/reference/dynamic-configuration/traefik.io_traefikservices.yaml",
				"docs/content/reference/dynamic-configuration/traefik.io_ingressroutes.yaml",
				"docs/content/reference/dynamic-configuration/traefik.io_ingressroutetcps.yaml",
			},
			kinds: []string{"TraefikService", "IngressRoute", "IngressRouteTCP"},
		},
		{
			module: "github.com/projectcontour/contour", version: "v1.33.8", sum: "h1:QoOfwqWws+CVRFpsRC2+f1DmB5IdurtyUtepIsiWfE0=",
			files: []string{"examples/contour/01-crds.yaml"},
			kinds: []string{"HTTPProxy"},
		},
		{
			module: "github.com/openshift/api", version: "v0.0.0-20260126183958-606bd613f9f7", sum: "h1:96rhgJpWlWzKEslMd6aYFMixV9vQVY32M71JcO4Gzn0=",
			files: []string{"route/v1/zz_generated.crd-manifests/routes.crd.yaml"},
			kinds: []string{"Route"},
		},
		{
			module: "github.com/zalando/skipper", version: "v0.21.0", sum: "h1:gP11izR2XKvf8MZGJM+oUW53BcSn0t/NO7oDlIqeFlI=",
			files: []string{"dataclients/kubernetes/deploy/apply/routegroups_crd.yaml"},
			kinds: []string{"RouteGroup"},
		},
		{
			module: "github.com/kedacore/keda/v2", version: "v2.21.0", sum: "h1:R6z2HZvstK4RLUMxroNACzBj74xGxt3kG59b5Xc+Xps=",
			files: []string{"config/crd/bases/keda.sh_scaledobjects.yaml"},
			kinds: []string{"ScaledObject"},
		},
	}
}

// read returns the definitions of the wanted kinds.
func (p published) read(t *testing.T) []*unstructured.Unstructured {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "mod", "download", "-json", p.module+"@"+p.version)
	cmd.Dir = t.TempDir() // not a module of this repository, so that no go.mod changes
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=-mod=mod")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("fetch the module %s: %v\n%s", p.module, err, out)
	}
	var fetched struct{ Dir, Sum string }
	if err := json.Unmarshal(out, &fetched); err != nil {
		t.Fatal(err)
	}
	if fetched.Sum != p.sum {
		t.Fatalf("the module %s has the sum %s, want %s", p.module, fetched.Sum, p.sum)
	}
	var found []*unstructured.Unstructured
	for _, file := range p.files {
		text, err := os.ReadFile(filepath.Join(fetched.Dir, filepath.FromSlash(file)))
		if err != nil {
			t.Fatal(err)
		}
		for document := range strings.SplitSeq(string(text), "\n---\n") {
			o := &unstructured.Unstructured{}
			if err := yaml.Unmarshal([]byte(document), &o.Object); err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			kind, _, _ := unstructured.NestedString(o.Object, "spec", "names", "kind")
			if slices.Contains(p.kinds, kind) {
				found = append(found, o)
			}
		}
	}
	if len(found) != len(p.kinds) {
		t.Fatalf("the module %s has %d of the definitions %v", p.module, len(found), p.kinds)
	}
	return found
}

// nginxDefinitions are those of VirtualServer and VirtualServerRoute. NGINX publishes no Go module
// that has its own. They are written after the reference, with the rules of the controller's
// validation: a split has a weight from 0 to 100, and those of a list add up to 100.
// https://docs.nginx.com/nginx-ingress-controller/configuration/virtualserver-and-virtualserverroute-resources/#split
func nginxDefinitions() []*unstructured.Unstructured {
	anything := map[string]any{"type": "object", "x-kubernetes-preserve-unknown-fields": true}
	listOf := func(items map[string]any) map[string]any {
		return map[string]any{"type": "array", "maxItems": int64(16), "items": items}
	}
	object := func(properties map[string]any) map[string]any {
		return map[string]any{"type": "object", "properties": properties}
	}
	splits := listOf(object(map[string]any{
		"weight": map[string]any{"type": "integer", "minimum": int64(0), "maximum": int64(100)}, "action": anything,
	}))
	splits["x-kubernetes-validations"] = []any{map[string]any{"rule": "self.map(s, s.weight).sum() == 100"}}
	match := listOf(object(map[string]any{"conditions": listOf(anything), "action": anything, "splits": splits}))
	routes := listOf(object(map[string]any{"path": map[string]any{"type": "string"}, "action": anything, "splits": splits, "matches": match}))
	var all []*unstructured.Unstructured
	for kind, list := range map[string]string{"VirtualServer": "routes", "VirtualServerRoute": "subroutes"} {
		plural := strings.ToLower(kind) + "s"
		schema := object(map[string]any{"spec": object(map[string]any{"host": map[string]any{"type": "string"}, "upstreams": listOf(anything), list: routes})})
		all = append(all, &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": map[string]any{"name": plural + ".k8s.nginx.org"},
			"spec": map[string]any{
				"group": "k8s.nginx.org", "scope": "Namespaced", "names": map[string]any{"plural": plural, "kind": kind},
				"versions": []any{map[string]any{"name": "v1", "served": true, "storage": true, "schema": map[string]any{"openAPIV3Schema": schema}}},
			},
		}})
	}
	return all
}

// define defines the kinds of all routers, and waits until the API server serves
// them.
func (c *cluster) define(t *testing.T) {
	t.Helper()
	crds := c.objects.Resource(schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"})
	all := nginxDefinitions()
	for _, p := range definitions() {
		all = append(all, p.read(t)...)
	}
	var names []string
	for _, o := range all {
		if _, err := crds.Create(t.Context(), o, metav1.CreateOptions{}); err != nil {
			t.Fatalf("define %s: %v", o.GetName(), err)
		}
		names = append(names, o.GetName())
	}
	for _, name := range names {
		eventually(t.Context(), t, name+" is served", func(ctx context.Context) bool {
			o, err := crds.Get(ctx, name, metav1.GetOptions{})
			if err != nil {
				return false
			}
			conditions, _, _ := unstructured.NestedSlice(o.Object, "status", "conditions")
			return slices.ContainsFunc(conditions, func(c any) bool {
				fields, _ := c.(map[string]any)
				return fields["type"] == "Established" && fields["status"] == "True"
			})
		})
	}
}
