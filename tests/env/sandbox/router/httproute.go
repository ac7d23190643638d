package router

import (
	"fmt"

	"k8s.io/apimachinery/pkg/types"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// attached returns the parentRefs of a route that name the Gateway.
func attached(r *gatewayv1.HTTPRoute, gateway types.NamespacedName) []gatewayv1.ParentReference {
	var found []gatewayv1.ParentReference
	for _, p := range r.Spec.ParentRefs {
		if orElse(p.Group, gatewayv1.GroupName) == gatewayv1.GroupName && orElse(p.Kind, "Gateway") == "Gateway" &&
			string(orElse(p.Namespace, gatewayv1.Namespace(r.Namespace))) == gateway.Namespace && string(p.Name) == gateway.Name {
			found = append(found, p)
		}
	}
	return found
}

// addHTTPRoute adds the routes of an attached HTTPRoute, unless it uses something that is not supported.
func (b *builder) addHTTPRoute(r *gatewayv1.HTTPRoute) {
	if len(attached(r, b.gateway)) == 0 || unsupported(r) != "" {
		return
	}
	hosts := r.Spec.Hostnames
	if len(hosts) == 0 {
		hosts = []gatewayv1.Hostname{""}
	}
	for n, rule := range r.Spec.Rules {
		backends, weights := b.backendRefs(r.Namespace, rule.BackendRefs)
		split := b.splits.of(fmt.Sprintf("httproute %s %s %d", r.Namespace, r.Name, n), weights)
		matches := rule.Matches
		if len(matches) == 0 {
			matches = []gatewayv1.HTTPRouteMatch{{}}
		}
		for _, host := range hosts {
			for _, m := range matches {
				b.table.routes = append(b.table.routes, route{
					host:     hostMatch{pattern: string(host)},
					path:     pathOf(m.Path),
					headers:  headersOf(m.Headers),
					backends: backends,
					split:    split,
				})
			}
		}
	}
}

// backendRefs returns a rule's backends, nil for those that cannot be resolved, and their weights.
func (b *builder) backendRefs(namespace string, refs []gatewayv1.HTTPBackendRef) ([]*backend, []int) {
	backends, weights := make([]*backend, len(refs)), make([]int, len(refs))
	for i, ref := range refs {
		weights[i] = int(orElse(ref.Weight, 1))
		found, _ := b.services.reference(namespace, ref.BackendObjectReference)
		if backends[i] = found; found != nil {
			b.pods(*found)
		}
	}
	return backends, weights
}

// reference returns the backend of a reference in an object of the namespace, or nil and the reason. References to other
// namespaces are refused: ReferenceGrants are not read.
func (s services) reference(namespace string, ref gatewayv1.BackendObjectReference) (*backend, gatewayv1.RouteConditionReason) {
	switch {
	case orElse(ref.Group, "") != "" || orElse(ref.Kind, "Service") != "Service":
		return nil, gatewayv1.RouteReasonInvalidKind
	case orElse(ref.Namespace, gatewayv1.Namespace(namespace)) != gatewayv1.Namespace(namespace):
		return nil, gatewayv1.RouteReasonRefNotPermitted
	}
	found := s.find(types.NamespacedName{Namespace: namespace, Name: string(ref.Name)}, "", orElse(ref.Port, 0))
	if found == nil {
		return nil, gatewayv1.RouteReasonBackendNotFound
	}
	return found, gatewayv1.RouteReasonResolvedRefs
}

func pathOf(m *gatewayv1.HTTPPathMatch) pathMatch {
	if m == nil {
		return pathMatch{value: "/"}
	}
	return pathMatch{value: orElse(m.Value, "/"), exact: orElse(m.Type, gatewayv1.PathMatchPathPrefix) == gatewayv1.PathMatchExact}
}

func headersOf(matches []gatewayv1.HTTPHeaderMatch) []headerMatch {
	var found []headerMatch
	for _, m := range matches {
		found = append(found, headerMatch{name: string(m.Name), value: m.Value})
	}
	return found
}

// unsupported names something in the route that the router does not support; "" if it supports everything.
func unsupported(r *gatewayv1.HTTPRoute) string {
	for _, rule := range r.Spec.Rules {
		if len(rule.Filters) > 0 {
			return "filters are not supported"
		}
		for _, ref := range rule.BackendRefs {
			if len(ref.Filters) > 0 {
				return "filters are not supported"
			}
		}
		for _, m := range rule.Matches {
			if why := unsupportedMatch(m); why != "" {
				return why
			}
		}
	}
	return ""
}

func unsupportedMatch(m gatewayv1.HTTPRouteMatch) string {
	if m.Path != nil && orElse(m.Path.Type, gatewayv1.PathMatchPathPrefix) == gatewayv1.PathMatchRegularExpression {
		return "paths are matched as Exact or PathPrefix only"
	}
	for _, h := range m.Headers {
		if orElse(h.Type, gatewayv1.HeaderMatchExact) != gatewayv1.HeaderMatchExact {
			return "headers are matched as Exact only"
		}
	}
	if len(m.QueryParams) > 0 || m.Method != nil {
		return "matches by query or method are not supported"
	}
	return ""
}

// orElse returns the value that p points to, or otherwise if p is nil.
func orElse[T any](p *T, otherwise T) T {
	if p == nil {
		return otherwise
	}
	return *p
}
