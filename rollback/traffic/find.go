package traffic

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/parallel"
)

// routes returns the routing objects that lead to the canary, together with an error for
// each whose canary is ambiguous: those that the manifest declares, and those that its
// Services name. For Services of the canary to which none of these leads it adds those of the
// namespace that do: a canary that is a release of its own has no others.
func (r *Router) routes(ctx context.Context, k rollback.Key, m rollback.Manifest) ([]route, error) {
	routes, _, err := r.locate(ctx, k, m)
	return routes, err
}

// locate is routes together with what they miss, a sentence each: Services of the canary to which
// no route leads, and routes whose canary nothing shows.
func (r *Router) locate(ctx context.Context, k rollback.Key, m rollback.Manifest) (routes []route, missed []string, err error) {
	c := r.kinds.canaryOf(m, r.track)
	routes, err = r.ownRoutes(ctx, k, m, c)
	if err != nil {
		return routes, nil, err
	}
	switch unrouted := c.unrouted(routes); {
	case len(routes) > 0 && c.shifted:
		return routes, nil, nil
	case len(routes) > 0 && len(unrouted) > 0:
		var others []route
		if others, err = r.found(ctx, k, c.only(unrouted)); apierrors.IsForbidden(err) {
			err = nil // Kinds that backout may not list are most likely not in use.
		}
		routes = c.withOthers(routes, others)
	case len(routes) > 0:
	case len(c.services) > 0:
		routes, err = r.found(ctx, k, c)
	case c.shifted:
		return nil, nil, nil
	default:
		routes, err = r.shared(ctx, k, c)
	}
	if err != nil || c.shifted {
		return routes, nil, err
	}
	routes, scalers, err := r.withScalers(ctx, k, routes)
	return routes, slices.Concat(missedBy(k, c.unrouted(routes)), r.kinds.undecided(m, c), scalers), err
}

// ownRoutes returns the routes that the manifest declares and those that its Services name.
func (r *Router) ownRoutes(ctx context.Context, k rollback.Key, m rollback.Manifest, c canary) ([]route, error) {
	routes, err := r.kinds.declaredRoutes(k, m, c)
	routes, ambiguousErr := r.resolved(ctx, k, routes)
	err = errors.Join(err, ambiguousErr)
	named, namedErr := r.named(ctx, k, m, c)
	return append(routes, named...), errors.Join(err, namedErr)
}

// resolved returns the routes without those whose canary is ambiguous, and an error for each
// of these. An annotation of the live object resolves it: the manifest of a revision cannot
// be changed any more.
func (r *Router) resolved(ctx context.Context, k rollback.Key, routes []route) ([]route, error) {
	var known []route
	var errs []error
	for _, o := range routes {
		if o.ambiguous != nil {
			live, err := r.objects.Resource(o.resource).Namespace(k.Namespace).Get(ctx, o.name, metav1.GetOptions{})
			leads := false
			switch {
			case err == nil:
				leads, err = o.kind.router.leads(live, o.canary.on(live))
			case apierrors.IsNotFound(err):
				err = nil // It routes nothing.
			default:
				err = errors.Join(o.ambiguous, err)
			}
			if err != nil {
				errs = append(errs, fmt.Errorf("%s %s/%s: %w", o.kind.name, k.Namespace, o.name, err))
			}
			if err != nil || !leads {
				continue
			}
		}
		known = append(known, o)
	}
	return known, errors.Join(errs...)
}

// named returns the routes that the release's Services name.
func (r *Router) named(ctx context.Context, k rollback.Key, m rollback.Manifest, c canary) ([]route, error) {
	var routes []route
	var errs []error
	for _, text := range namedRoutes(m) {
		kindName, name, _ := strings.Cut(text, "/")
		found, err := r.candidates(ctx, k, kindName, metav1.ListOptions{FieldSelector: "metadata.name=" + name})
		found = slices.DeleteFunc(found, func(o candidate) bool { return o.route.name != name })
		lead, leadErr := leading(found, c)
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("read %s of namespace %s, which the annotation %s names: %w", text, k.Namespace, routeAnnotation, err))
		case len(found) == 0:
			errs = append(errs, fmt.Errorf("the annotation %s names %s, which does not exist in namespace %s: want Kind/name, such as HTTPRoute/shop",
				routeAnnotation, text, k.Namespace))
		}
		routes, errs = append(routes, lead...), append(errs, leadErr)
	}
	return routes, errors.Join(errs...)
}

// found returns the routing objects of the namespace that lead to the canary's Services. It
// reads them as they are stored only if the API server's cache has none.
func (r *Router) found(ctx context.Context, k rollback.Key, c canary) ([]route, error) {
	routes, err := r.foundBy(ctx, k, c, fromAPICache())
	if len(routes) == 0 && err == nil {
		return r.foundBy(ctx, k, c, metav1.ListOptions{})
	}
	return routes, err
}

func (r *Router) foundBy(ctx context.Context, k rollback.Key, c canary, o metav1.ListOptions) ([]route, error) {
	all, err := r.candidates(ctx, k, "", o)
	routes, leadErr := leading(all, c)
	if len(routes) > 0 {
		// Kinds that backout may not list are most likely not in use.
		err = nil
	}
	return routes, errors.Join(err, leadErr)
}

// candidate is a live routing object that may lead to the canary.
type candidate struct {
	route route
	live  *unstructured.Unstructured
}

// leading returns the candidates that lead to the canary.
func leading(all []candidate, c canary) ([]route, error) {
	c.foreign = true
	var routes []route
	var errs []error
	for _, o := range all {
		leads, err := o.route.kind.router.leads(o.live, c.on(o.live))
		if err != nil {
			errs = append(errs, fmt.Errorf("%s %s/%s: %w", o.route.kind.name, o.live.GetNamespace(), o.route.name, err))
		}
		if leads && err == nil {
			o.route.canary = c
			routes = append(routes, o.route)
		}
	}
	return routes, errors.Join(errs...)
}

// candidates lists the live routing objects of one kind, or of every kind if that is "", in
// parallel. A kind that the cluster does not serve is not an error.
func (r *Router) candidates(ctx context.Context, k rollback.Key, kindName string, o metav1.ListOptions) ([]candidate, error) {
	var groups []schema.GroupKind
	for group := range r.kinds {
		if (kindName == "" || kindName == group.Kind) && group.Kind != deploymentKind && group.Kind != scaledObjectKind {
			groups = append(groups, group)
		}
	}
	slices.SortFunc(groups, func(a, b schema.GroupKind) int { return strings.Compare(a.String(), b.String()) })
	found := make([][]candidate, len(groups))
	errs := make([]error, len(groups))
	var all parallel.WaitGroup
	for i, group := range groups {
		all.Go(func() { found[i], errs[i] = r.list(ctx, k.Namespace, group, o) })
	}
	all.Wait()
	return slices.Concat(found...), errors.Join(errs...)
}

// list lists the live objects of one kind.
func (r *Router) list(ctx context.Context, namespace string, group schema.GroupKind, o metav1.ListOptions) ([]candidate, error) {
	kind := r.kinds[group]
	for _, version := range kind.versions() {
		resource := schema.GroupVersionResource{Group: group.Group, Version: version, Resource: kind.resource}
		list, err := r.objects.Resource(resource).Namespace(namespace).List(ctx, o)
		if apierrors.IsNotFound(err) || apierrors.IsForbidden(err) && r.serving.lacks(ctx, resource) {
			continue
		}
		if err != nil {
			return nil, withHint(fmt.Errorf("list %s: %w", resource.GroupResource(), err), resource.GroupResource().String(), namespace)
		}
		var found []candidate
		for i := range list.Items {
			live := &list.Items[i]
			found = append(found, candidate{live: live, route: route{kind: kind, resource: resource, name: live.GetName(), object: live}})
		}
		return found, nil
	}
	return nil, nil
}

// shared returns the canary's Deployments behind a Service of the namespace that also
// selects Deployments of other releases.
func (r *Router) shared(ctx context.Context, k rollback.Key, c canary) ([]route, error) {
	if !slices.ContainsFunc(c.workloads, func(w workload) bool { return w.canary && w.kind == deploymentKind }) {
		return nil, nil
	}
	deployments := schema.GroupKind{Group: "apps", Kind: deploymentKind}
	services := schema.GroupVersionResource{Version: "v1", Resource: "services"}
	var live []candidate
	var list *unstructured.UnstructuredList
	var errs [2]error
	var all parallel.WaitGroup
	all.Go(func() { live, errs[0] = r.list(ctx, k.Namespace, deployments, metav1.ListOptions{}) })
	all.Go(func() {
		list, errs[1] = r.objects.Resource(services).Namespace(k.Namespace).List(ctx, metav1.ListOptions{})
	})
	all.Wait()
	if err := errors.Join(errs[0], withHint(errs[1], "services", k.Namespace)); err != nil {
		return nil, fmt.Errorf("look for a Service that the canary shares: %w", err)
	}
	workloads := slices.Clone(c.workloads)
	for _, o := range live {
		w := workloadOf(o.live, r.track)
		own := slices.ContainsFunc(c.workloads, func(own workload) bool { return own.kind == w.kind && own.name == w.name })
		// The canary of another release is neither suspect nor able to take over.
		if !own && !w.canary {
			workloads = append(workloads, w)
		}
	}
	for i := range list.Items {
		s := serviceOf(&list.Items[i])
		// Most Services select other pods: only those of the canary are compared with all
		// Deployments.
		if slices.ContainsFunc(c.workloads, func(w workload) bool { return w.canary && s.selects(w) }) {
			c.share(s, workloads)
		}
	}
	return leading(live, c)
}
