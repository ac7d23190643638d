package helm

import (
	"encoding/json"
	"fmt"
	"maps"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	"helm.sh/helm/v3/pkg/kube"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/cli-runtime/pkg/resource"

	"github.com/upcommerce/backout/rollback"
)

// patchFor returns the patch that Helm's rollback sends for an object: a three-way
// strategic merge for kinds that Helm knows, and the difference between the two
// manifests for all others. Helm does not export its own function.
func patchFor(target *resource.Info, original, live runtime.Object) ([]byte, types.PatchType, error) {
	before, err := json.Marshal(original)
	if err != nil {
		return nil, "", fmt.Errorf("encode the original object: %w", err)
	}
	after, err := json.Marshal(target.Object)
	if err != nil {
		return nil, "", fmt.Errorf("encode the target's object: %w", err)
	}
	known := kube.AsVersioned(target)
	if _, custom := known.(runtime.Unstructured); custom {
		patch, err := jsonpatch.CreateMergePatch(before, after)
		return patch, types.MergePatchType, err
	}
	now, err := json.Marshal(live)
	if err != nil {
		return nil, "", fmt.Errorf("encode the live object: %w", err)
	}
	schema, err := strategicpatch.NewPatchMetaFromStruct(known)
	if err != nil {
		return nil, "", fmt.Errorf("read how its lists are merged: %w", err)
	}
	patch, err := strategicpatch.CreateThreeWayMergePatch(before, after, now, schema, true)
	return patch, types.StrategicMergePatchType, err
}

// setHelmMetadata labels and annotates an object as Helm does before writing it.
func setHelmMetadata(o *unstructured.Unstructured, k rollback.Key) {
	labels, annotations := maps.Clone(o.GetLabels()), maps.Clone(o.GetAnnotations())
	if labels == nil {
		labels = make(map[string]string)
	}
	if annotations == nil {
		annotations = make(map[string]string)
	}
	labels["app.kubernetes.io/managed-by"] = "Helm"
	annotations["meta.helm.sh/release-name"] = k.Release
	annotations["meta.helm.sh/release-namespace"] = k.Namespace
	o.SetLabels(labels)
	o.SetAnnotations(annotations)
}
