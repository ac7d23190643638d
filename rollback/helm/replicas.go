package helm

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"

	"helm.sh/helm/v3/pkg/kube"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/cli-runtime/pkg/resource"
)

// scalers has an entry for each object that an autoscaler scales, as
// namespace/kind/name.
type scalers map[string]bool

func scaled(namespace, kind, name string) string { return namespace + "/" + kind + "/" + name }

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
		found[scaled(namespace, hpa.Spec.ScaleTargetRef.Kind, hpa.Spec.ScaleTargetRef.Name)] = true
	}
	return found, nil
}

// declaredScalers returns what the autoscalers among the objects scale: whatever
// refers to a target of scaling, as HorizontalPodAutoscalers and KEDA's
// ScaledObjects do.
func declaredScalers(objects kube.ResourceList) scalers {
	found := make(scalers)
	for _, info := range objects {
		o, ok := info.Object.(*unstructured.Unstructured)
		if !ok {
			continue
		}
		if name, _, _ := unstructured.NestedString(o.Object, "spec", "scaleTargetRef", "name"); name != "" {
			kind, _, _ := unstructured.NestedString(o.Object, "spec", "scaleTargetRef", "kind")
			found[scaled(info.Namespace, cmp.Or(kind, "Deployment"), name)] = true // KEDA's default
		}
	}
	return found
}

// keepReplicas leaves the live spec.replicas of autoscaled objects as they are
// when Helm turns original into target: it takes the field out of both, so that
// what the autoscaler sets meanwhile stays, too. Where Helm would compare with
// the live object itself, the field gets the live value.
//
// Autoscaled is what a live autoscaler scales, and what one of either side does:
// the target's is made only after its workload was written, and the accused
// revision's is gone already if an earlier attempt was interrupted. What the
// target declares no number for stays as it is as well: Helm would take the
// number out, which makes it 1. A greater number is written where the autoscaler
// goes: nothing else would ever reach it.
func keepReplicas(ctx context.Context, original, target kube.ResourceList, list func(context.Context, string) (scalers, error)) error {
	before, after := declaredScalers(original), declaredScalers(target)
	now := make(map[string]scalers)
	return target.Visit(func(info *resource.Info, err error) error {
		if err != nil {
			return err
		}
		will, ok := info.Object.(*unstructured.Unstructured)
		if !ok || !scalable(will) {
			return nil
		}
		if _, listed := now[info.Namespace]; !listed {
			if now[info.Namespace], err = list(ctx, info.Namespace); err != nil {
				return err
			}
		}
		was, id := original.Get(info), scaled(info.Namespace, will.GetKind(), info.Name)
		if !before[id] && !after[id] && !now[info.Namespace][id] && !unnumbers(was, will) {
			return nil
		}
		live, err := look(info)
		if err != nil || live == nil || before[id] && !after[id] && grows(will, live) {
			return err
		}
		return keep(was, will, live)
	})
}

// look reads the live object; nil if there is none: it is created, as declared.
func look(info *resource.Info) (*unstructured.Unstructured, error) {
	live, err := resource.NewHelper(info.Client, info.Mapping).Get(info.Namespace, info.Name)
	if apierrors.IsNotFound(err) {
		return nil, nil //nolint:nilnil // None is an answer.
	}
	if err != nil {
		return nil, fmt.Errorf("read how many replicas %s has: %w", info.ObjectName(), err)
	}
	return live.(*unstructured.Unstructured), nil
}

// unnumbers reports whether Helm would take spec.replicas out of the live object:
// the target has none, and what Helm compares it with has.
func unnumbers(original *resource.Info, will *unstructured.Unstructured) bool {
	if _, numbered := replicasOf(will); numbered {
		return false
	}
	if original == nil {
		return true // compared with the live object
	}
	was, ok := original.Object.(*unstructured.Unstructured)
	if !ok {
		return false
	}
	_, numbered := replicasOf(was)
	return numbered
}

// grows reports whether the target declares more pods than there are.
func grows(will, live *unstructured.Unstructured) bool {
	declared, numbered := replicasOf(will)
	running, _ := replicasOf(live)
	return numbered && declared > running
}

// keep takes the number of replicas out of what Helm compares. Zero pods that the
// accused revision declares are not kept: no HorizontalPodAutoscaler sets zero, or
// ever leaves it.
func keep(original *resource.Info, will, live *unstructured.Unstructured) error {
	replicas, ok := replicasOf(live)
	if !ok {
		return nil
	}
	if original == nil {
		return unstructured.SetNestedField(will.Object, replicas, "spec", "replicas")
	}
	was, ok := original.Object.(*unstructured.Unstructured)
	if ok && replicas == 0 {
		if declared, numbered := replicasOf(was); numbered && declared == 0 {
			return nil
		}
	}
	unstructured.RemoveNestedField(will.Object, "spec", "replicas")
	if ok {
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
