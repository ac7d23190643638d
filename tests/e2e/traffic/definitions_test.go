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
			files: []string{"config/crd/standard/gateway.networking.k8s.io_httproutes.yaml", "config/crd/standard/gateway.networking.k8s.io_grpcroutes.yaml"},
			kinds: []string{"HTTPRoute", "GRPCRoute"},
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

// define defines the kinds of all routers, and waits until the API server serves
// them.
func (c *cluster) define(t *testing.T) {
	t.Helper()
	crds := c.objects.Resource(schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"})
	var names []string
	for _, p := range definitions() {
		for _, o := range p.read(t) {
			if _, err := crds.Create(t.Context(), o, metav1.CreateOptions{}); err != nil {
				t.Fatalf("define %s: %v", o.GetName(), err)
			}
			names = append(names, o.GetName())
		}
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
