package sandbox

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/yaml"

	"github.com/upcommerce/backout/tests/env/programs"
)

// RouterAddress is the router's address inside. The router serves Ingresses of the class nginx, or without a class, from the
// start, and HTTPRoutes after GatewayAPI.
const RouterAddress = InnerAddress + ":80"

// The Gateway that GatewayAPI creates: HTTPRoutes of any namespace may name it in their parentRefs.
const (
	GatewayNamespace = "default"
	GatewayName      = "sandbox"
	// GatewayController is the router's name in its GatewayClass and in the status of HTTPRoutes.
	GatewayController = "backout.dev/sandbox-router"
)

// RouterURL is the router's address on the host, "http://127.0.0.1:NNNNN". Requests need the Host header of their route.
func (s *Sandbox) RouterURL(ctx context.Context) (string, error) {
	host, err := s.Forward(ctx, RouterAddress)
	if err != nil {
		return "", err
	}
	return "http://" + host, nil
}

// gatewayManifest contains the router's GatewayClass and the Gateway. No controller writes their status: the router always runs.
const gatewayManifest = `
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata:
  name: sandbox
spec:
  controllerName: ` + GatewayController + `
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata:
  name: ` + GatewayName + `
  namespace: ` + GatewayNamespace + `
spec:
  gatewayClassName: sandbox
  listeners:
    - name: http
      port: 80
      protocol: HTTP
      allowedRoutes:
        namespaces:
          from: All
`

// GatewayAPI installs the Gateway API's standard definitions for HTTP, and the GatewayClass and Gateway sandbox. From then on the
// router serves HTTPRoutes that name the Gateway. It may be called more than once.
func (s *Sandbox) GatewayAPI(ctx context.Context) error {
	s.progress("installing the Gateway API")
	client, err := dynamic.NewForConfig(s.RESTConfig())
	if err != nil {
		return fmt.Errorf("install the Gateway API: %w", err)
	}
	definitions, err := gatewayDefinitions(ctx)
	if err != nil {
		return fmt.Errorf("install the Gateway API: %w", err)
	}
	for _, manifest := range append(definitions, strings.Split(gatewayManifest, "---\n")...) {
		if err := applyOnce(ctx, client, manifest); err != nil {
			return fmt.Errorf("install the Gateway API: %w", err)
		}
	}
	return nil
}

// gatewayDefinitions reads the definitions from the Go module that go.mod pins.
func gatewayDefinitions(ctx context.Context) ([]string, error) {
	root, err := programs.Repository()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "sigs.k8s.io/gateway-api")
	cmd.Dir = filepath.Join(root, "tests")
	cmd.Env = append(os.Environ(), "GOWORK=off")
	module, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("find the module sigs.k8s.io/gateway-api: %w", err)
	}
	var found []string
	for _, kind := range []string{"gatewayclasses", "gateways", "httproutes"} {
		name := "gateway.networking.k8s.io_" + kind + ".yaml"
		b, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(module)), "config", "crd", "standard", name))
		if err != nil {
			return nil, fmt.Errorf("read a definition: %w", err)
		}
		found = append(found, string(b))
	}
	return found, nil
}

// applyOnce applies one object. It retries while the API server does not yet serve a kind whose definition is new.
func applyOnce(ctx context.Context, client dynamic.Interface, manifest string) error {
	var object unstructured.Unstructured
	if err := yaml.Unmarshal([]byte(manifest), &object); err != nil {
		return fmt.Errorf("decode an object: %w", err)
	}
	plural := strings.ToLower(object.GetKind()) + "s"
	if object.GetKind() == "GatewayClass" {
		plural = "gatewayclasses"
	}
	resource := object.GroupVersionKind().GroupVersion().WithResource(plural)
	for {
		_, err := resourceClient(client, resource, object.GetNamespace()).
			Apply(ctx, object.GetName(), &object, metav1.ApplyOptions{FieldManager: "sandbox", Force: true})
		if err == nil {
			return nil
		}
		if !apierrors.IsNotFound(err) {
			return fmt.Errorf("apply %s %s: %w", object.GetKind(), object.GetName(), err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("apply %s %s: %w (last answer: %w)", object.GetKind(), object.GetName(), context.Cause(ctx), err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func resourceClient(client dynamic.Interface, resource schema.GroupVersionResource, namespace string) dynamic.ResourceInterface {
	if namespace == "" {
		return client.Resource(resource)
	}
	return client.Resource(resource).Namespace(namespace)
}
