package chaos

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"
)

// resources are the kinds that the storefront's chart renders.
func resources() map[string]schema.GroupVersionResource {
	return map[string]schema.GroupVersionResource{
		"ConfigMap":  {Version: "v1", Resource: "configmaps"},
		"Service":    {Version: "v1", Resource: "services"},
		"Deployment": {Group: "apps", Version: "v1", Resource: "deployments"},
		"Ingress":    {Group: "networking.k8s.io", Version: "v1", Resource: "ingresses"},
	}
}

// compare returns where the live objects differ from what the manifest declares.
func compare(ctx context.Context, config *rest.Config, namespace, manifest string) ([]string, error) {
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("make a dynamic client: %w", err)
	}
	var differences []string
	for document := range strings.SplitSeq(manifest, "\n---\n") {
		var o unstructured.Unstructured
		if err := yaml.Unmarshal([]byte(strings.TrimPrefix(document, "---\n")), &o.Object); err != nil {
			return nil, fmt.Errorf("decode a manifest: %w", err)
		}
		if o.Object == nil {
			continue
		}
		resource, ok := resources()[o.GetKind()]
		if !ok {
			return nil, fmt.Errorf("the chart renders a %s: add it to what is compared", o.GetKind())
		}
		live, err := client.Resource(resource).Namespace(namespace).Get(ctx, o.GetName(), metav1.GetOptions{})
		if err != nil {
			differences = append(differences, err.Error())
			continue
		}
		differences = append(differences, differ(o.GetKind()+"/"+o.GetName(), o.Object, live.Object)...)
	}
	return differences, nil
}

// differ returns the paths at which live lacks a declared value. Keys that the API
// server and controllers add to a map are no difference; additional elements of a
// list are one.
func differ(path string, declared, live any) []string {
	switch want := declared.(type) {
	case map[string]any:
		have, _ := live.(map[string]any)
		var found []string
		for _, name := range slices.Sorted(maps.Keys(want)) {
			if want[name] != nil {
				found = append(found, differ(path+"."+name, want[name], have[name])...)
			}
		}
		return found
	case []any:
		have, _ := live.([]any)
		if len(have) != len(want) {
			return []string{fmt.Sprintf("%s has %d elements, want %d", path, len(have), len(want))}
		}
		var found []string
		for i := range want {
			found = append(found, differ(fmt.Sprintf("%s[%d]", path, i), want[i], have[i])...)
		}
		return found
	default:
		// Numbers are decoded as integers in one and floats in the other.
		if !reflect.DeepEqual(declared, live) && fmt.Sprint(declared) != fmt.Sprint(live) {
			return []string{fmt.Sprintf("%s is %v, want %v", path, live, declared)}
		}
		return nil
	}
}
