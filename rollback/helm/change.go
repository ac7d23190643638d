package helm

import (
	"encoding/json"
	"fmt"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	"helm.sh/helm/v3/pkg/kube"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/cli-runtime/pkg/resource"

	"github.com/upcommerce/backout/rollback"
)

// change is what a rollback sends to turn a live object into the target's.
type change struct {
	patch []byte
	kind  types.PatchType
	// repaired says that the patch is not Helm's: that would leave parts of another revision
	// in the object, or lose entries of a list.
	repaired bool
}

// none reports whether nothing is sent.
func (c change) none() bool { return string(c.patch) == "{}" }

// changeOf returns the change for a visited object. original is the object that Helm
// compares the target's with, and left are the same object as the unfinished revisions
// declare it.
func changeOf(target *resource.Info, original runtime.Object, live *unstructured.Unstructured, left []rollback.Object) (change, error) {
	var c change
	var err error
	if c.patch, c.kind, err = patchFor(target, original, live); err != nil {
		return c, err
	}
	now, err := json.Marshal(live)
	if err != nil {
		return c, fmt.Errorf("encode the live object: %w", err)
	}
	outcome, err := c.outcome(target, now)
	if err != nil {
		return c, nil //nolint:nilerr // The API server says what is wrong with the patch.
	}
	wanted, ok := target.Object.(*unstructured.Unstructured)
	if !ok {
		return c, nil
	}
	lists, known := listKindsOf(target)
	merged := merge{mergeRepair, known}.top(lists, wanted.Object, outcome, basesOf(wanted.Object, original, left))
	if equalValues(merged, outcome) {
		return c, nil
	}
	then, err := json.Marshal(merged)
	if err != nil {
		return c, fmt.Errorf("encode the target's object: %w", err)
	}
	// Lists are replaced as a whole: the same key twice is no obstacle.
	c.patch, err = jsonpatch.CreateMergePatch(now, then)
	c.kind, c.repaired = types.MergePatchType, true
	return c, err
}

// outcome returns the object that the patch makes of the live one, without the defaults of
// the API server.
func (c change) outcome(target *resource.Info, live []byte) (rollback.Object, error) {
	var text []byte
	var err error
	if c.kind == types.StrategicMergePatchType {
		text, err = strategicpatch.StrategicMergePatch(live, c.patch, kube.AsVersioned(target))
	} else {
		text, err = jsonpatch.MergePatch(live, c.patch)
	}
	if err != nil {
		return nil, err
	}
	var outcome rollback.Object
	err = utiljson.Unmarshal(text, &outcome)
	return outcome, err
}

// basesOf returns an object as revisions before the rollback declare it. A number of replicas
// that the target leaves open stays.
func basesOf(target rollback.Object, original runtime.Object, left []rollback.Object) []rollback.Object {
	bases := make([]rollback.Object, 0, len(left)+1)
	if o, ok := original.(*unstructured.Unstructured); ok && o.GetUID() == "" { // not the live object
		bases = append(bases, o.Object)
	}
	_, numbered := replicasOf(&unstructured.Unstructured{Object: target})
	for _, o := range left {
		if !numbered {
			o = runtime.DeepCopyJSON(o)
			unstructured.RemoveNestedField(o, "spec", "replicas")
		}
		bases = append(bases, o)
	}
	return bases
}
