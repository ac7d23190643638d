package traffic

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	clienttesting "k8s.io/client-go/testing"

	"github.com/upcommerce/backout/rollback"
)

// A patch tests that the object, or at least what it replaces, has not changed since it was
// read.
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
		{"the object has not changed", live, operations, strictPatches, version},
		{
			"on a busy object: the replaced values have not changed", live, operations, strictPatches + 1,
			[]operation{{"test", annotationPath("a/b~c"), "was"}, {"test", "/spec/rules/0/weight", 5.0}},
		},
		{"the first annotation of an object would replace those that were added since", bare, annotate(bare, "a", "b"), maxPatches, version},
	} {
		if diff := cmp.Diff(c.want, unchanged(c.live, c.operations, c.attempt)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.rule, diff)
		}
	}
}

// After a restore backout owns no fields, so that no apply meets a conflict.
func TestRestoreDisowns(t *testing.T) {
	const helm = `{manager: helm, operation: Apply, fieldsType: FieldsV1, fieldsV1: {"f:spec": {}}}`
	const backout = `{manager: backout, operation: Update, fieldsType: FieldsV1, fieldsV1: {"f:spec": {"f:rules": {}}}}`
	nothing := fmt.Sprintf(`{manager: backout, operation: Update, fieldsType: FieldsV1, fieldsV1: %s}`, nothingOwned)
	for name, c := range map[string]struct{ fields, want string }{
		"next to other managers, backout's entries go": {`[` + backout + `, ` + helm + `, ` + backout + `]`, `["remove /metadata/managedFields/2","remove /metadata/managedFields/0"]`},
		"backout's only entry stays and owns nothing":  {`[` + backout + `]`, `["replace /metadata/managedFields/0/fieldsV1"]`},
		"an entry that owns nothing stays":             {`[` + nothing + `]`, `null`},
		"other managers' entries stay":                 {`[` + helm + `]`, `null`},
		"an object without managers stays":             {`[]`, `null`},
	} {
		live := &unstructured.Unstructured{Object: object(t, `{metadata: {managedFields: `+c.fields+`}}`)}
		e, err := disown(route{}, live)
		var got []string
		for _, o := range e.operations {
			got = append(got, o.Op+" "+o.Path)
		}
		if text, _ := json.Marshal(got); err != nil || string(text) != c.want {
			t.Errorf("%s: got %s, %v, want %s", name, text, err, c.want)
		}
	}

	text := backendRefs(`[{name: shop, weight: 80}, {name: shop-canary, weight: 20}]`)
	client := cluster(t, text)
	client.PrependReactor("get", "httproutes", func(clienttesting.Action) (bool, runtime.Object, error) {
		o := &unstructured.Unstructured{Object: object(t, text)}
		_ = unstructured.SetNestedSlice(o.Object, []any{object(t, helm), object(t, backout)}, "metadata", "managedFields")
		return true, o, nil
	})
	var patched []string
	client.PrependReactor("patch", "httproutes", func(a clienttesting.Action) (bool, runtime.Object, error) {
		patched = append(patched, string(a.(clienttesting.PatchAction).GetPatch()))
		return true, &unstructured.Unstructured{Object: object(t, text)}, nil
	})
	m := rollback.Manifest{object(t, canaryService), object(t, text)}
	r := routerOn(client)
	if _, err := r.Restore(t.Context(), shop(), m, nil); err != nil || len(patched) != 1 || !strings.Contains(patched[0], "/metadata/managedFields/1") {
		t.Errorf("a restore that finds the declared weights still gives up the fields: got %v, %v", patched, err)
	}
	patched = nil
	if _, err := r.Shed(t.Context(), shop(), m, nil, nil); !errors.Is(err, errOverwritten) || strings.Contains(strings.Join(patched, ""), "managedFields") {
		t.Errorf("backout keeps the fields of a held weight: got %v, %v", patched, err)
	}
}

// A replica that has lost the lease sheds, and does not restore.
func TestFenceRefusesRestores(t *testing.T) {
	lost := errors.New("the lease is lost")
	live := backendRefs(`[{name: shop, weight: 80}, {name: shop-canary, weight: 20}]`)
	client := cluster(t, live)
	m := rollback.Manifest{object(t, canaryService), object(t, live)}
	r := routerOn(client)
	r.fence = func() error { return lost }
	if _, err := r.Shed(t.Context(), shop(), m, nil, nil); err != nil {
		t.Fatalf("any replica may shed: got %v", err)
	}
	if _, err := r.Restore(t.Context(), shop(), m, nil); !errors.Is(err, lost) {
		t.Errorf("the restore returns the fence's error: got %v", err)
	}
	o, err := client.Resource(httpRoutes()).Namespace("shop").Get(t.Context(), "shop", metav1.GetOptions{})
	if err != nil || listWeights(o.Object) != "100 0" {
		t.Errorf("a refused restore changes nothing: got %q, %v", listWeights(o.Object), err)
	}
	r.fence = func() error { return nil }
	if _, err := r.Restore(t.Context(), shop(), m, nil); err != nil {
		t.Error(err)
	}
	if o, _ := client.Resource(httpRoutes()).Namespace("shop").Get(t.Context(), "shop", metav1.GetOptions{}); listWeights(o.Object) != "80 20" {
		t.Errorf("the leader restores: got %q", listWeights(o.Object))
	}
}

// An admission webhook may replace the zero in the request that writes it.
func TestShedVerifiesTheStoredWeight(t *testing.T) {
	live := backendRefs(`[{name: shop, weight: 80}, {name: shop-canary, weight: 20}]`)
	client := cluster(t, live)
	client.PrependReactor("patch", "httproutes", func(clienttesting.Action) (bool, runtime.Object, error) {
		u := &unstructured.Unstructured{Object: object(t, live)}
		return true, u, nil
	})
	_, err := routerOn(client).Shed(t.Context(), shop(), rollback.Manifest{object(t, canaryService), object(t, live)}, nil, nil)
	if !errors.Is(err, errOverwritten) {
		t.Errorf("a zero that is not stored is an error: got %v", err)
	}
}
