package helm

import (
	"cmp"
	"context"
	"fmt"
	"reflect"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/upcommerce/backout/rollback"
)

// podsDangers returns the workloads of the target whose pods would not start, because an
// object that they need does not exist and the target does not declare it, nor what another
// tool makes it of, or because the rollback deletes it. An object of which backout cannot know
// is no danger, and neither is one that is missing for the suspect's pods already, if they are
// the same: the rollback does not replace them.
func (t *dryRun) podsDangers(ctx context.Context) []rollback.Danger {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	known := make(map[string]bool)
	for _, o := range t.target {
		known[identity(t.plan.Key.Namespace, o)] = true
		if name := secretMadeBy(o); name != "" {
			known["Secret/"+namespaceOf(t.plan.Key.Namespace, o)+"/"+name] = true
		}
	}
	goes := make(map[string]bool)
	for _, o := range t.suspect {
		id := identity(t.plan.Key.Namespace, o)
		goes[id] = !known[id] && !isKept(&unstructured.Unstructured{Object: o})
	}
	current := workloadsOf(t.client.track, t.plan.Key.Namespace, t.suspect)
	var found []rollback.Danger
	for _, w := range workloadsOf(t.client.track, t.plan.Key.Namespace, t.target) {
		if w.Namespace != t.plan.Key.Namespace {
			continue
		}
		for _, n := range needsOf(w.pod.Spec) {
			id := n.kind + "/" + w.Namespace + "/" + n.name
			if known[id] {
				continue
			}
			what := "does not exist"
			switch {
			case goes[id]:
				what = "the rollback deletes"
			case slices.ContainsFunc(current, w.hasSamePods):
				continue
			case t.client.exists(ctx, w.Namespace, n):
				known[id] = true
				continue
			}
			found = append(found, rollback.Danger{
				Kind: rollback.DangerPods,
				What: fmt.Sprintf("the pods of %s would not start: they need %s %s, which %s", title(t.plan.Key, w.Kind, w.Namespace, w.Name), n.kind, n.name, what),
			})
		}
	}
	return found
}

// hasSamePods reports whether the other workload is this one with the same pods.
func (w workload) hasSamePods(other workload) bool {
	return w.id == other.id && reflect.DeepEqual(w.Template, other.Template)
}

// need is an object without which a pod does not start.
type need struct{ kind, resource, name string }

// exists reports whether the object exists, or may exist.
func (c *Client) exists(ctx context.Context, namespace string, n need) bool {
	_, err := c.metadata.Resource(corev1.SchemeGroupVersion.WithResource(n.resource)).Namespace(namespace).Get(ctx, n.name, metav1.GetOptions{})
	return !apierrors.IsNotFound(err)
}

// needsOf returns the objects that a pod needs, each once.
func needsOf(spec corev1.PodSpec) []need {
	var all []need
	add := func(n need, optional *bool) {
		if n.name != "" && (optional == nil || !*optional) && !slices.Contains(all, n) {
			all = append(all, n)
		}
	}
	configMap := func(name string, optional *bool) { add(need{"ConfigMap", "configmaps", name}, optional) }
	secret := func(name string, optional *bool) { add(need{"Secret", "secrets", name}, optional) }
	add(need{"ServiceAccount", "serviceaccounts", cmp.Or(spec.ServiceAccountName, spec.DeprecatedServiceAccount)}, nil)
	for _, v := range spec.Volumes {
		if v.ConfigMap != nil {
			configMap(v.ConfigMap.Name, v.ConfigMap.Optional)
		}
		if v.Secret != nil {
			secret(v.Secret.SecretName, v.Secret.Optional)
		}
		if v.PersistentVolumeClaim != nil {
			add(need{"PersistentVolumeClaim", "persistentvolumeclaims", v.PersistentVolumeClaim.ClaimName}, nil)
		}
		if v.Projected == nil {
			continue
		}
		for _, s := range v.Projected.Sources {
			if s.ConfigMap != nil {
				configMap(s.ConfigMap.Name, s.ConfigMap.Optional)
			}
			if s.Secret != nil {
				secret(s.Secret.Name, s.Secret.Optional)
			}
		}
	}
	for _, c := range slices.Concat(spec.InitContainers, spec.Containers) {
		containerNeeds(c, configMap, secret)
	}
	return all
}

// containerNeeds calls the functions with the ConfigMaps and Secrets of a container's
// environment.
func containerNeeds(c corev1.Container, configMap, secret func(name string, optional *bool)) {
	for _, from := range c.EnvFrom {
		if from.ConfigMapRef != nil {
			configMap(from.ConfigMapRef.Name, from.ConfigMapRef.Optional)
		}
		if from.SecretRef != nil {
			secret(from.SecretRef.Name, from.SecretRef.Optional)
		}
	}
	for _, env := range c.Env {
		if env.ValueFrom == nil {
			continue
		}
		if ref := env.ValueFrom.ConfigMapKeyRef; ref != nil {
			configMap(ref.Name, ref.Optional)
		}
		if ref := env.ValueFrom.SecretKeyRef; ref != nil {
			secret(ref.Name, ref.Optional)
		}
	}
}
