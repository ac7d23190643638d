package helm

import (
	"cmp"
	"context"
	"fmt"
	"strconv"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/upcommerce/backout/rollback"
)

// The marks of other tools.
const (
	fluxHelm       = "helm.toolkit.fluxcd.io"
	fluxKustomize  = "kustomize.toolkit.fluxcd.io"
	argoTracking   = "argocd.argoproj.io/tracking-id"
	flaggerGroup   = "flagger.app"
	flaggerKind    = "Canary"
	rolloutsGroup  = "argoproj.io"
	rolloutsKind   = "Rollout"
	flaggerWebhook = "rollback"
)

// ownerOf returns the tool that manages the objects of a release, declared or
// live; the zero Owner if none does. A tool that sets weights comes first: it is
// not to be fought over a weight either. The command goes back to target, where
// that is known.
func ownerOf(k rollback.Key, target int, all rollback.Manifest) rollback.Owner {
	workloads := make(map[string]bool)
	for _, w := range workloadsOf(k.Namespace, all) {
		workloads[w.kind+"/"+w.namespace+"/"+w.name] = true
	}
	back := fmt.Sprintf("helm rollback %s %s -n %s", k.Release, revisionText(target), k.Namespace)
	var found rollback.Owner
	for _, object := range all {
		o := &unstructured.Unstructured{Object: object}
		if owner := weigher(k, o, workloads, back); owner.Tool != "" {
			return owner
		}
		if found.Tool == "" {
			found = deployer(o, back)
		}
	}
	return found
}

func revisionText(target int) string {
	if target < 1 {
		return "REVISION"
	}
	return strconv.Itoa(target)
}

// weigher returns the tool that sets the weights of a canary that the object
// is, controls, or belongs to.
func weigher(k rollback.Key, o *unstructured.Unstructured, workloads map[string]bool, back string) rollback.Owner {
	gvk, namespace := o.GroupVersionKind(), cmp.Or(o.GetNamespace(), k.Namespace)
	names := func(path ...string) bool {
		ref, _, _ := unstructured.NestedStringMap(o.Object, path...)
		return workloads[ref["kind"]+"/"+namespace+"/"+ref["name"]]
	}
	switch {
	case gvk.Group == flaggerGroup && gvk.Kind == flaggerKind && names("spec", "targetRef"):
		return flagger(namespace, o.GetName(), gate(o), back)
	case gvk.Group == rolloutsGroup && gvk.Kind == rolloutsKind &&
		(workloads[rolloutsKind+"/"+namespace+"/"+o.GetName()] || names("spec", "workloadRef")):
		return rollback.Owner{
			Tool: "Argo Rollouts", Object: "Rollout " + namespace + "/" + o.GetName(), Weights: true,
			Do: fmt.Sprintf("kubectl argo rollouts abort %s -n %s", o.GetName(), namespace),
		}
	}
	for _, ref := range o.GetOwnerReferences() {
		group, _, _ := strings.Cut(ref.APIVersion, "/")
		if group == flaggerGroup && ref.Kind == flaggerKind {
			return flagger(namespace, ref.Name, "", back)
		}
	}
	return rollback.Owner{}
}

// flagger says how to abort a Canary: by its rollback webhook if it has one; if
// not, Flagger takes nothing but what it was before.
func flagger(namespace, name, gate, back string) rollback.Owner {
	do := back
	if gate != "" {
		do = fmt.Sprintf(`curl -d '{"name": "%s", "namespace": "%s"}' %s`, name, namespace, gate)
	}
	return rollback.Owner{Tool: "Flagger", Object: "Canary " + namespace + "/" + name, Do: do, Weights: true}
}

// gate returns the URL that opens the Canary's rollback webhook, "" if it has
// none. Flagger's load tester opens at .../open what is asked at .../check.
func gate(canary *unstructured.Unstructured) string {
	webhooks, _, _ := unstructured.NestedSlice(canary.Object, "spec", "analysis", "webhooks")
	for _, w := range webhooks {
		webhook, _ := w.(map[string]any)
		url, _ := webhook["url"].(string)
		if base, found := strings.CutSuffix(url, "/check"); found && webhook["type"] == flaggerWebhook {
			return base + "/open"
		}
	}
	return ""
}

// deployer returns the tool that keeps the object as it is declared elsewhere.
func deployer(o *unstructured.Unstructured, back string) rollback.Owner {
	labels := o.GetLabels()
	for _, f := range []struct{ group, kind string }{{fluxHelm, "HelmRelease"}, {fluxKustomize, "Kustomization"}} {
		if name, namespace := labels[f.group+"/name"], labels[f.group+"/namespace"]; name != "" && namespace != "" {
			return rollback.Owner{
				Tool: "Flux", Object: f.kind + " " + namespace + "/" + name,
				Do: fmt.Sprintf("flux suspend %s %s -n %s && %s", strings.ToLower(f.kind), name, namespace, back),
			}
		}
	}
	owner, _ := rollback.ArgoCD(o.GetAnnotations()[argoTracking], o.GetKind(), o.GetName())
	return owner
}

// canaries reads the Canaries and Rollouts of the namespace. Where these kinds
// are not served there are none. That backout may not list them where they are
// is an error: it could fight over a weight with whoever sets it.
func (c *Client) canaries(ctx context.Context, namespace string) (rollback.Manifest, error) {
	var found rollback.Manifest
	for _, kind := range []schema.GroupVersionResource{
		{Group: flaggerGroup, Version: "v1beta1", Resource: "canaries"},
		{Group: rolloutsGroup, Version: "v1alpha1", Resource: "rollouts"},
	} {
		list, err := c.dynamic.Resource(kind).Namespace(namespace).List(ctx, metav1.ListOptions{})
		if apierrors.IsForbidden(err) {
			err = c.forbidden(ctx, kind, err)
		}
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("list %s in %s: %w", kind.GroupResource(), namespace, err)
		}
		for i := range list.Items {
			found = append(found, list.Items[i].Object)
		}
	}
	return found, nil
}

// forbidden returns refusal with a hint if the kind is served, and what the API
// server says of it if not: it refuses to list what is not there just the same.
// It is asked anew, because the kind may have come after the discovery was read.
func (c *Client) forbidden(ctx context.Context, kind schema.GroupVersionResource, refusal error) error {
	served, err := c.clientset.Discovery().ServerResourcesForGroupVersionWithContext(ctx, kind.GroupVersion().String())
	if err != nil {
		return err
	}
	for _, r := range served.APIResources {
		if r.Name == kind.Resource {
			return fmt.Errorf("%w; they may set the canary's weight: add to backout's Role there {apiGroups: [%s], resources: [%s], verbs: [list]}",
				refusal, kind.Group, kind.Resource)
		}
	}
	return apierrors.NewNotFound(kind.GroupResource(), "")
}
