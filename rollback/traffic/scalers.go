package traffic

import (
	"context"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/upcommerce/backout/rollback"
)

// withScalers adds to routes that are Deployments the live ScaledObjects that scale them. missed
// says that backout may not read them, and which of them an operator keeps at some replicas.
func (r *Router) withScalers(ctx context.Context, k rollback.Key, routes []route) (all []route, missed []string, err error) {
	all = slices.DeleteFunc(slices.Clone(routes), func(o route) bool { return o.kind.name == scaledObjectKind })
	i := slices.IndexFunc(all, func(o route) bool { return o.kind.name == deploymentKind })
	if i < 0 {
		return all, nil, nil
	}
	live, err := r.list(ctx, k.Namespace, schema.GroupKind{Group: "keda.sh", Kind: scaledObjectKind}, fromAPICache())
	if apierrors.IsForbidden(err) {
		return all, []string{fmt.Sprintf("backout may not read scaledobjects.keda.sh in namespace %s: if KEDA scales Deployment %s, it gives it replicas again; allow backout to get, list, watch and patch them, or set the annotation %s=%s on the ScaledObject",
			k.Namespace, all[i].name, pausedReplicas, zero)}, nil
	}
	for _, o := range live {
		at := slices.IndexFunc(all, func(d route) bool { return d.kind.name == deploymentKind && d.name == keda{}.targetOf(o.live) })
		if at < 0 {
			continue
		}
		o.route.canary = all[at].canary
		all = append(all, o.route)
		if replicas := (keda{}).keeps(o.live); replicas != "" {
			missed = append(missed, fmt.Sprintf("an operator has paused ScaledObject %s at %s replicas of Deployment %s, which KEDA gives it again: set its annotation %s to %s",
				o.route.name, replicas, all[at].name, pausedReplicas, zero))
		}
	}
	return all, missed, err
}

// resumed reports whether the Deployment of a paused ScaledObject has replicas again: an operator
// has given it some, and KEDA goes on.
func (r *Router) resumed(ctx context.Context, k rollback.Key, o route, live *unstructured.Unstructured) bool {
	if o.kind.name != scaledObjectKind {
		return false
	}
	deployments := schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}
	target, err := r.objects.Resource(deployments).Namespace(k.Namespace).Get(ctx, keda{}.targetOf(live), metav1.GetOptions{})
	if err != nil {
		return false
	}
	n, _ := plainService{}.replicas(target)
	return n > 0
}
