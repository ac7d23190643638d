package charts_test

import (
	"os"
	"testing"

	"helm.sh/helm/v3/pkg/chartutil"
	"sigs.k8s.io/yaml"
)

// The schema describes every value that values.yaml has, and no other.
func TestReceiverSchemaKnowsEveryValue(t *testing.T) {
	text, err := os.ReadFile("backout/values.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	type node struct {
		Properties map[string]*node
	}
	var schema node
	if err := yaml.Unmarshal(text, &schema); err != nil {
		t.Fatal(err)
	}
	values, err := chartutil.ReadValuesFile("backout/values.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var compare func(path string, n *node, values map[string]any)
	compare = func(path string, n *node, values map[string]any) {
		for name, value := range values {
			known, ok := n.Properties[name]
			if !ok {
				t.Errorf("the schema lacks %s%s", path, name)
				continue
			}
			if nested, ok := value.(map[string]any); ok && len(known.Properties) > 0 {
				compare(path+name+".", known, nested)
			}
		}
		for name := range n.Properties {
			if _, ok := values[name]; !ok && path+name != "global" {
				t.Errorf("values.yaml lacks %s%s", path, name)
			}
		}
	}
	compare("", &schema, values)
}
