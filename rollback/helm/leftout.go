package helm

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"reflect"

	"helm.sh/helm/v3/pkg/release"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/cli-runtime/pkg/resource"
	"k8s.io/client-go/dynamic"

	"github.com/upcommerce/backout/rollback"
)

// weightAnnotation is the canary's weight on an Ingress of ingress-nginx.
const weightAnnotation = "nginx.ingress.kubernetes.io/canary-weight"

// liveState is what backout can see of a live object.
type liveState int

const (
	liveUnknown   liveState = iota // not looked at
	liveExists                     // it exists
	liveMissing                    // it does not exist
	liveForbidden                  // backout may not read it
)

// leftOut decides which of the release's own objects Helm does not visit: those that both
// revisions declare the same. Helm would read each of them, so that a kind that backout may
// not read would stop the rollback.
type leftOut struct {
	client *Client
	plan   rollback.Plan
	sides  sides
	names  revisionNames
	// suspect has the identities of what the suspect revision declares, if the original side
	// has more than that; else it is nil.
	suspect map[string]bool
}

// check reports whether Helm leaves an object alone that is the release's own. The text, if
// any, says what stays otherwise than the target declares.
//
// An object that is missing is visited: Helm creates it. One that differs in labels and
// annotations that name the revision, in weights or in the number of replicas is left alone
// only if backout may not read it or the API server refuses the change.
func (l leftOut) check(ctx context.Context, info *resource.Info, state liveState) (left bool, stays string, err error) {
	before, after := l.sides.original.Get(info), l.sides.target.Get(info)
	switch {
	case after == nil:
		return state == liveForbidden && keptAsDeclared(before), "", nil // Helm keeps it
	case before == nil || state == liveMissing || state == liveUnknown:
		return false, "", nil
	case sameDeclared(before, after):
		return state == liveForbidden || l.isTheSame(after), "", nil
	case !l.names.alikeButWeights(before, after, l.plan.Hold):
		return false, "", nil
	}
	var refused error
	if state == liveExists {
		if refused, err = l.refusal(ctx, before, after); err != nil || refused == nil {
			return false, "", err
		}
	}
	return true, l.stays(before, after, refused), nil
}

// staysUnread reports whether an object can be left alone though the API server fails to read
// it, as it does for a kind whose own server or webhook is down: Helm would write nothing
// unless it is missing. An API server that does not answer at all may do so for all objects.
func (l leftOut) staysUnread(info *resource.Info, err error) bool {
	var status apierrors.APIStatus
	if !errors.As(err, &status) || status.Status().Code < http.StatusInternalServerError {
		return false
	}
	before, after := l.sides.original.Get(info), l.sides.target.Get(info)
	return before != nil && after != nil && sameDeclared(before, after) && l.isTheSame(after)
}

// isTheSame reports whether the suspect itself and all unfinished revisions declare the object
// as the target does. One that only an attempt declares may be live in another form: the
// attempt may not have reached it.
func (l leftOut) isTheSame(after *resource.Info) bool {
	o, ok := after.Object.(*unstructured.Unstructured)
	return ok && (l.suspect == nil || l.suspect[identity(l.plan.Key.Namespace, o.Object)]) &&
		l.sides.unfinished.declareTheSame(l.plan.Key.Namespace, after)
}

// identitiesOf returns the identities of what a revision declares.
func identitiesOf(namespace string, r *release.Release) map[string]bool {
	found := make(map[string]bool)
	all, err := decodeManifest(r.Manifest)
	if err != nil {
		return found
	}
	for _, o := range all {
		found[identity(namespace, o)] = true
	}
	return found
}

// stays says what an object that is left alone keeps, and why; "" if it keeps nothing that
// the target declares otherwise. refused is nil if backout may not read the object.
func (l leftOut) stays(before, after *resource.Info, refused error) string {
	if l.names.alike(before, after) {
		return ""
	}
	reason := forbiddenText(after, l.plan.Key.Namespace, "get", "patch")
	if refused != nil && !isForbidden(refused) {
		reason = "the API server refuses the change: " + errorText(refused)
	}
	return fmt.Sprintf("%s keeps its live weights and numbers of replicas, and revision %d declares others: %s",
		title(l.plan.Key, after.Mapping.GroupVersionKind.Kind, after.Namespace, after.Name), l.sides.to.Version, reason)
}

// refusal dry-runs the change that the rollback would make to a live object. It returns the
// API server's refusal, nil if it accepts the change, and an error if it may answer something
// else later.
func (l leftOut) refusal(ctx context.Context, before, after *resource.Info) (refused, err error) {
	err = l.dryRun(ctx, before, after)
	if hasNoDryRun(err) {
		err = nil // the change itself may be accepted
	}
	if _, isRefusal := refusalKind(err); isRefusal {
		return err, nil
	}
	return nil, err
}

func (l leftOut) dryRun(ctx context.Context, before, after *resource.Info) error {
	objects := l.client.liveObjects(after)
	live, err := objects.Get(ctx, after.Name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	target := *after
	wanted := after.Object.(*unstructured.Unstructured).DeepCopy()
	setHelmMetadata(wanted, l.plan.Key)
	if l.plan.Hold != nil {
		l.plan.Hold(wanted.Object)
	}
	target.Object = wanted
	patch, kind, err := patchFor(&target, before.Object, live)
	if err != nil || string(patch) == "{}" {
		return nil //nolint:nilerr // The dry run finds a patch that cannot be computed.
	}
	_, err = objects.Patch(ctx, after.Name, kind, patch, metav1.PatchOptions{DryRun: []string{metav1.DryRunAll}, FieldManager: fieldManager})
	return err
}

// liveObjects are the live objects of the kind and the namespace of an object.
func (c *Client) liveObjects(info *resource.Info) dynamic.ResourceInterface {
	all := c.dynamic.Resource(info.Mapping.Resource)
	if info.Namespaced() {
		return all.Namespace(info.Namespace)
	}
	return all
}

// sameDeclared reports whether both sides declare the very same object.
func sameDeclared(before, after *resource.Info) bool {
	from, ok := before.Object.(*unstructured.Unstructured)
	to, okToo := after.Object.(*unstructured.Unstructured)
	return ok && okToo && reflect.DeepEqual(from.Object, to.Object)
}

// alikeButWeights reports whether both sides declare an object of the release alike, but for
// its own labels and annotations that name the revision, the chart's version or a time, the
// weights of a route, and the number of replicas. The labels of pods count: alerts name them.
func (n revisionNames) alikeButWeights(before, after *resource.Info, hold func(rollback.Object)) bool {
	from, ok := before.Object.(*unstructured.Unstructured)
	to, okToo := after.Object.(*unstructured.Unstructured)
	if !ok || !okToo {
		return false
	}
	a, b := withoutShares(from.Object, hold), withoutShares(to.Object, hold)
	return n.sameMetadata(a, b, []string{"metadata"}) && reflect.DeepEqual(a, b)
}

// withoutShares returns a copy of a declared object without the weights of a route and
// without a number of replicas.
func withoutShares(o rollback.Object, hold func(rollback.Object)) rollback.Object {
	c := runtime.DeepCopyJSON(o)
	if hold != nil {
		hold(c)
	}
	unstructured.RemoveNestedField(c, "spec", "replicas")
	unstructured.RemoveNestedField(c, "metadata", "annotations", weightAnnotation)
	if _, pods := rollback.WorkloadOf(c); !pods {
		c["spec"] = withoutWeights(c["spec"])
	}
	return c
}

// stateOf returns what the answer to a read says about the live object.
func stateOf(err error) liveState {
	switch {
	case err == nil:
		return liveExists
	case apierrors.IsNotFound(err):
		return liveMissing
	case apierrors.IsForbidden(err):
		return liveForbidden
	default:
		return liveUnknown
	}
}
