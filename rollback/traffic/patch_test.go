package traffic

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	clienttesting "k8s.io/client-go/testing"

	"github.com/upcommerce/backout/rollback"
)

// What a patch demands of an object that may have been changed since it was read.
func TestUnchanged(t *testing.T) {
	live := &unstructured.Unstructured{Object: object(t, `{metadata: {resourceVersion: "7", annotations: {a/b~c: was}}, spec: {rules: [{weight: 5}]}}`)}
	bare := &unstructured.Unstructured{Object: object(t, `{metadata: {resourceVersion: "7"}}`)}
	version := []operation{{"test", "/metadata/resourceVersion", "7"}}
	operations := []operation{
		{"add", annotationPath("a/b~c"), "is"}, {"add", annotationPath("new"), "is"}, {"add", "/spec/rules/0/weight", 0}, {"add", "/spec/rules/1/weight", 0},
	}
	for _, c := range []struct {
		rule       string
		live       *unstructured.Unstructured
		operations []operation
		attempt    int
		want       []operation
	}{
		{"nobody wrote the object", live, operations, strictPatches, version},
		{
			"on a busy object: nobody wrote what is written", live, operations, strictPatches + 1,
			[]operation{{"test", annotationPath("a/b~c"), "was"}, {"test", "/spec/rules/0/weight", 5.0}},
		},
		{"the first annotation of an object would take those that were added meanwhile", bare, annotate(bare, "a", "b"), maxPatches, version},
	} {
		if diff := cmp.Diff(c.want, unchanged(c.live, c.operations, c.attempt)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.rule, diff)
		}
	}
}

// A raised weight belongs to nobody, so that no apply meets a conflict.
func TestRaiseDisowns(t *testing.T) {
	const theirs = `{manager: helm, operation: Apply, fieldsType: FieldsV1, fieldsV1: {"f:spec": {}}}`
	const ours = `{manager: backout, operation: Update, fieldsType: FieldsV1, fieldsV1: {"f:spec": {"f:rules": {}}}}`
	nothing := fmt.Sprintf(`{manager: backout, operation: Update, fieldsType: FieldsV1, fieldsV1: %s}`, nothingOwned)
	for name, c := range map[string]struct{ fields, want string }{
		"beside others, our entries go":                          {`[` + ours + `, ` + theirs + `, ` + ours + `]`, `["remove /metadata/managedFields/2","remove /metadata/managedFields/0"]`},
		"ours alone stays and owns nothing":                      {`[` + ours + `]`, `["replace /metadata/managedFields/0/fieldsV1"]`},
		"what owns nothing is right":                             {`[` + nothing + `]`, `null`},
		"what others own is theirs":                              {`[` + theirs + `]`, `null`},
		"an object that nobody owns is none of backout's affair": {`[]`, `null`},
	} {
		live := &unstructured.Unstructured{Object: object(t, `{metadata: {managedFields: `+c.fields+`}}`)}
		e, err := disowned(route{}, live)
		var got []string
		for _, o := range e.operations {
			got = append(got, o.Op+" "+o.Path)
		}
		if text, _ := json.Marshal(got); err != nil || string(text) != c.want {
			t.Errorf("%s: got %s, %v, want %s", name, text, err, c.want)
		}
	}

	text := route80(`[{name: shop, weight: 80}, {name: shop-canary, weight: 20}]`)
	client := cluster(t, text)
	client.PrependReactor("get", "httproutes", func(clienttesting.Action) (bool, runtime.Object, error) {
		o := &unstructured.Unstructured{Object: object(t, text)}
		_ = unstructured.SetNestedSlice(o.Object, []any{object(t, theirs), object(t, ours)}, "metadata", "managedFields")
		return true, o, nil
	})
	var patched []string
	client.PrependReactor("patch", "httproutes", func(a clienttesting.Action) (bool, runtime.Object, error) {
		patched = append(patched, string(a.(clienttesting.PatchAction).GetPatch()))
		return true, &unstructured.Unstructured{Object: object(t, text)}, nil
	})
	m := rollback.Manifest{object(t, canaryService), object(t, text)}
	r := &Router{objects: client}
	if _, err := r.Raise(t.Context(), shop(), m, nil); err != nil || len(patched) != 1 || !strings.Contains(patched[0], "/metadata/managedFields/1") {
		t.Errorf("a raise that finds the weights right still gives them up: got %v, %v", patched, err)
	}
	patched = nil
	if _, err := r.Shed(t.Context(), shop(), m, nil); !errors.Is(err, errPutBack) || strings.Contains(strings.Join(patched, ""), "managedFields") {
		t.Errorf("a held weight stays ours: got %v, %v", patched, err)
	}
}
