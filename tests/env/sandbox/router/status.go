package router

import (
	"context"
	"log/slog"
	"slices"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// statusWriter reports in the status of HTTPRoutes whether they are served. It runs in parallel with the table's updates, because
// a write takes longer than they do.
type statusWriter struct {
	client     dynamic.Interface
	gateway    types.NamespacedName
	controller gatewayv1.GatewayController
	log        *slog.Logger
}

// run writes every status that has changed whenever it receives objects, until ctx ends.
func (w statusWriter) run(ctx context.Context, changed <-chan objects) {
	for {
		select {
		case <-ctx.Done():
			return
		case o := <-changed:
			s := newServices(o.services, nil)
			for _, r := range o.routes {
				w.write(ctx, r, s)
			}
		}
	}
}

func (w statusWriter) write(ctx context.Context, r *gatewayv1.HTTPRoute, s services) {
	status := w.statusOf(r, s)
	if equality.Semantic.DeepEqual(status, r.Status.RouteStatus) {
		return
	}
	r = r.DeepCopy()
	r.Status.RouteStatus = status
	object, err := runtime.DefaultUnstructuredConverter.ToUnstructured(r)
	if err == nil {
		client := w.client.Resource(httpRoutes()).Namespace(r.Namespace)
		_, err = client.UpdateStatus(ctx, &unstructured.Unstructured{Object: object}, metav1.UpdateOptions{})
	}
	// After a conflict or a deletion the watch delivers the newer object, and run tries again.
	if err != nil && ctx.Err() == nil && !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) {
		w.log.ErrorContext(ctx, "the status of an HTTPRoute could not be written", "namespace", r.Namespace, "error", err)
	}
}

// statusOf returns a route's status with the router's part updated. Other controllers' parts stay as they are, and a condition
// that has not changed keeps its time.
func (w statusWriter) statusOf(r *gatewayv1.HTTPRoute, s services) gatewayv1.RouteStatus {
	var status gatewayv1.RouteStatus
	ours := func(p gatewayv1.RouteParentStatus) bool { return p.ControllerName == w.controller }
	for _, p := range r.Status.Parents {
		if !ours(p) {
			status.Parents = append(status.Parents, p)
		}
	}
	for _, ref := range attached(r, w.gateway) {
		entry := gatewayv1.RouteParentStatus{ParentRef: ref, ControllerName: w.controller}
		before := slices.IndexFunc(r.Status.Parents, func(p gatewayv1.RouteParentStatus) bool {
			return ours(p) && equality.Semantic.DeepEqual(p.ParentRef, ref)
		})
		if before >= 0 {
			entry.Conditions = slices.Clone(r.Status.Parents[before].Conditions)
		}
		for _, c := range []metav1.Condition{accepted(r), resolved(r, s)} {
			c.ObservedGeneration = r.Generation
			meta.SetStatusCondition(&entry.Conditions, c)
		}
		status.Parents = append(status.Parents, entry)
	}
	return status
}

func accepted(r *gatewayv1.HTTPRoute) metav1.Condition {
	if why := unsupported(r); why != "" {
		return condition(gatewayv1.RouteConditionAccepted, gatewayv1.RouteReasonUnsupportedValue, why)
	}
	return condition(gatewayv1.RouteConditionAccepted, gatewayv1.RouteReasonAccepted, "")
}

// resolved reports the first reference that cannot be resolved.
func resolved(r *gatewayv1.HTTPRoute, s services) metav1.Condition {
	for _, rule := range r.Spec.Rules {
		for _, ref := range rule.BackendRefs {
			if b, reason := s.reference(r.Namespace, ref.BackendObjectReference); b == nil {
				return condition(gatewayv1.RouteConditionResolvedRefs, reason, "backend "+string(ref.Name))
			}
		}
	}
	return condition(gatewayv1.RouteConditionResolvedRefs, gatewayv1.RouteReasonResolvedRefs, "")
}

// condition is true if the reason equals its type, which is the Gateway API's convention.
func condition(of gatewayv1.RouteConditionType, reason gatewayv1.RouteConditionReason, message string) metav1.Condition {
	status := metav1.ConditionFalse
	if string(of) == string(reason) {
		status = metav1.ConditionTrue
	}
	return metav1.Condition{Type: string(of), Status: status, Reason: string(reason), Message: message}
}
