package helm

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"time"

	"helm.sh/helm/v3/pkg/kube"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/cli-runtime/pkg/resource"
)

// scalers has an entry for each object that an autoscaler scales, by scaledKey.
type scalers map[string]bool

func scaledKey(namespace, kind, name string) string { return namespace + "/" + kind + "/" + name }

// lookTimeout limits a look at what a rollback can do without.
const lookTimeout = 3 * time.Second

// scalers reads the namespace's HorizontalPodAutoscalers. It returns an error if backout
// may not list them.
func (c *Client) scalers(ctx context.Context, namespace string) (scalers, error) {
	list, err := c.clientset.AutoscalingV2().HorizontalPodAutoscalers(namespace).List(ctx, metav1.ListOptions{})
	if apierrors.IsForbidden(err) {
		return nil, fmt.Errorf("list the autoscalers in %s: %w; grant backout `list` on horizontalpodautoscalers there", namespace, err)
	}
	if err != nil {
		return nil, fmt.Errorf("list the autoscalers in %s: %w", namespace, err)
	}
	found := make(scalers, len(list.Items))
	for _, hpa := range list.Items {
		found[scaledKey(namespace, hpa.Spec.ScaleTargetRef.Kind, hpa.Spec.ScaleTargetRef.Name)] = true
	}
	return found, nil
}

// declaredScalers returns what the autoscalers among the objects scale. Every object with
// a scaleTargetRef is one, such as a HorizontalPodAutoscaler or KEDA's ScaledObject.
func declaredScalers(objects kube.ResourceList) scalers {
	found := make(scalers)
	for _, info := range objects {
		o, ok := info.Object.(*unstructured.Unstructured)
		if !ok {
			continue
		}
		if name, _, _ := unstructured.NestedString(o.Object, "spec", "scaleTargetRef", "name"); name != "" {
			kind, _, _ := unstructured.NestedString(o.Object, "spec", "scaleTargetRef", "kind")
			found[scaledKey(info.Namespace, cmp.Or(kind, "Deployment"), name)] = true // KEDA's default
		}
	}
	return found
}

// scalerList returns what the live autoscalers of a namespace scale, as far as backout may
// know: without it, a workload may be scaled up to the number that the target declares.
type scalerList func(ctx context.Context, namespace string) scalers

// scalerLister returns a list that reports an error, once a namespace, and has no
// autoscalers then.
func (c *Client) scalerLister(report func(error)) scalerList {
	return func(ctx context.Context, namespace string) scalers {
		ctx, cancel := context.WithTimeout(ctx, lookTimeout)
		defer cancel()
		found, err := c.scalers(ctx, namespace)
		if err != nil {
			report(err)
		}
		return found
	}
}

// keepReplicas keeps the live spec.replicas of objects when Helm turns original into
// target, if that is not lower than the target's number, whatever set it, or if the object is
// autoscaled: it removes the field from both, so that a number that is set meanwhile stays
// too. Where Helm would compare with the live object itself, keepReplicas sets the field to
// the live number.
//
// An object is autoscaled if a live autoscaler scales it, or one that either side
// declares: the target's is created only after its workload was written, and an
// interrupted attempt may already have deleted the suspect revision's. If the target
// declares no number, the live one stays as well: Helm would remove the number, which
// makes it 1. If the autoscaler goes and the target declares a greater number, that is
// written: nothing else would ever scale the workload up.
func keepReplicas(ctx context.Context, original, target kube.ResourceList, list scalerList) error {
	before, after := declaredScalers(original), declaredScalers(target)
	now := make(map[string]scalers)
	return target.Visit(func(info *resource.Info, err error) error {
		if err != nil {
			return err
		}
		wanted, ok := info.Object.(*unstructured.Unstructured)
		if !ok || !hasReplicas(wanted) {
			return nil
		}
		live, err := readLive(info)
		if err != nil || live == nil {
			return err
		}
		if _, listed := now[info.Namespace]; !listed {
			now[info.Namespace] = list(ctx, info.Namespace)
		}
		compared, id := original.Get(info), scaledKey(info.Namespace, wanted.GetKind(), info.Name)
		autoscaled := before[id] || after[id] || now[info.Namespace][id]
		autoscalerGoes := before[id] && !after[id]
		if scalesUp(wanted, live) && (!autoscaled || autoscalerGoes) {
			return nil
		}
		return keepLiveReplicas(compared, wanted, live)
	})
}

// readLive reads the live object; nil if it does not exist: Helm then creates it as
// declared.
func readLive(info *resource.Info) (*unstructured.Unstructured, error) {
	live, err := resource.NewHelper(info.Client, info.Mapping).Get(info.Namespace, info.Name)
	if apierrors.IsNotFound(err) {
		return nil, nil //nolint:nilnil // No object is a valid answer.
	}
	if err != nil {
		return nil, fmt.Errorf("read how many replicas %s has: %w", info.ObjectName(), err)
	}
	return live.(*unstructured.Unstructured), nil
}

// scalesUp reports whether the target declares more pods than run.
func scalesUp(wanted, live *unstructured.Unstructured) bool {
	declared, numbered := replicasOf(wanted)
	running, _ := replicasOf(live)
	return numbered && declared > running
}

// keepLiveReplicas removes the number of replicas from both sides of Helm's comparison. It
// does not keep zero pods that the suspect revision declares: a HorizontalPodAutoscaler
// never sets zero, and never changes it.
func keepLiveReplicas(original *resource.Info, wanted, live *unstructured.Unstructured) error {
	replicas, ok := replicasOf(live)
	if !ok {
		return nil
	}
	if original == nil {
		return unstructured.SetNestedField(wanted.Object, replicas, "spec", "replicas")
	}
	compared, ok := original.Object.(*unstructured.Unstructured)
	if ok && replicas == 0 {
		if declared, numbered := replicasOf(compared); numbered && declared == 0 {
			return nil
		}
	}
	unstructured.RemoveNestedField(wanted.Object, "spec", "replicas")
	if ok {
		unstructured.RemoveNestedField(compared.Object, "spec", "replicas")
	}
	return nil
}

// hasReplicas reports whether the object is a kind that makes a number of pods.
func hasReplicas(o *unstructured.Unstructured) bool {
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
