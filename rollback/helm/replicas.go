package helm

import (
	"context"
	"encoding/json"
	"fmt"

	"helm.sh/helm/v3/pkg/kube"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/cli-runtime/pkg/resource"
)

// scalers has an entry for each object of one namespace that a
// HorizontalPodAutoscaler scales, as kind/name.
type scalers map[string]bool

// scalers reads the namespace's HorizontalPodAutoscalers. That backout may not
// list them is an error: without knowing them, a rollback could shrink what they
// scaled up.
func (c *Client) scalers(ctx context.Context, namespace string) (scalers, error) {
	list, err := c.clientset.AutoscalingV2().HorizontalPodAutoscalers(namespace).List(ctx, metav1.ListOptions{})
	if apierrors.IsForbidden(err) {
		return nil, fmt.Errorf("list what is autoscaled in %s: %w; grant backout `list` on horizontalpodautoscalers there", namespace, err)
	}
	if err != nil {
		return nil, fmt.Errorf("list what is autoscaled in %s: %w", namespace, err)
	}
	found := make(scalers, len(list.Items))
	for _, hpa := range list.Items {
		found[hpa.Spec.ScaleTargetRef.Kind+"/"+hpa.Spec.ScaleTargetRef.Name] = true
	}
	return found, nil
}

// keepReplicas leaves the live spec.replicas of autoscaled objects as they are
// when Helm turns original into target: it takes the field out of both, so that
// what the autoscaler sets meanwhile stays, too. Where Helm would compare with
// the live object itself, the field gets the live value.
func keepReplicas(ctx context.Context, original, target kube.ResourceList, list func(context.Context, string) (scalers, error)) error {
	known := make(map[string]scalers)
	return target.Visit(func(info *resource.Info, err error) error {
		if err != nil {
			return err
		}
		will, ok := info.Object.(*unstructured.Unstructured)
		if !ok || !scalable(will) {
			return nil
		}
		if _, listed := known[info.Namespace]; !listed {
			if known[info.Namespace], err = list(ctx, info.Namespace); err != nil {
				return err
			}
		}
		if !known[info.Namespace][will.GetKind()+"/"+info.Name] {
			return nil
		}
		live, err := resource.NewHelper(info.Client, info.Mapping).Get(info.Namespace, info.Name)
		if apierrors.IsNotFound(err) {
			return nil // it is created, as declared
		}
		if err != nil {
			return fmt.Errorf("read how many replicas %s has: %w", info.ObjectName(), err)
		}
		return keep(original.Get(info), will, live.(*unstructured.Unstructured))
	})
}

func keep(original *resource.Info, will, live *unstructured.Unstructured) error {
	replicas, ok := replicasOf(live)
	if !ok {
		return nil
	}
	if original == nil {
		return unstructured.SetNestedField(will.Object, replicas, "spec", "replicas")
	}
	unstructured.RemoveNestedField(will.Object, "spec", "replicas")
	if was, ok := original.Object.(*unstructured.Unstructured); ok {
		unstructured.RemoveNestedField(was.Object, "spec", "replicas")
	}
	return nil
}

// scalable reports whether the object makes pods in a number.
func scalable(o *unstructured.Unstructured) bool {
	spec, _ := o.Object["spec"].(map[string]any)
	return spec["replicas"] != nil || spec["template"] != nil
}

// replicasOf returns an object's spec.replicas.
func replicasOf(o *unstructured.Unstructured) (int64, bool) {
	spec, _ := o.Object["spec"].(map[string]any)
	return integer(spec["replicas"])
}

// integer reads a decoded number, which is an int64 or a float64.
func integer(value any) (int64, bool) {
	switch n := value.(type) {
	case int64:
		return n, true
	case float64:
		return int64(n), true
	case json.Number:
		i, err := n.Int64()
		return i, err == nil
	default:
		return 0, false
	}
}
