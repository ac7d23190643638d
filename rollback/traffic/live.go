package traffic

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/upcommerce/backout/rollback"
)

// routeAnnotation is a person's word, on a Service of the release, for a routing
// object that is no part of it: "HTTPRoute/shop", several separated by commas.
const routeAnnotation = "backout.dev/route"

// routes returns the routing objects that lead to the canary, together with an
// error for each of which that cannot be said: those that the manifest declares,
// and those that its Services name. If there are none, those of the namespace that
// lead to the canary's Services, which is so when the canary is a release of its
// own.
func (r *Router) routes(ctx context.Context, k rollback.Key, m rollback.Manifest) ([]route, error) {
	c := canaryOf(m)
	routes, err := declaredRoutes(k, m, c)
	routes, unclearErr := r.cleared(ctx, k, routes)
	err = errors.Join(err, unclearErr)
	named, namedErr := r.named(ctx, k, m, c)
	routes, err = append(routes, named...), errors.Join(err, namedErr)
	if len(routes) > 0 || err != nil {
		return routes, err
	}
	if len(c.services) > 0 {
		return r.found(ctx, k, c)
	}
	return r.shared(ctx, k, c)
}

// cleared returns the routes without those of which nobody knows which side is the
// canary, and an error for each of them. What a person has written on the live
// object counts: the manifest of a revision cannot be changed any more.
func (r *Router) cleared(ctx context.Context, k rollback.Key, routes []route) ([]route, error) {
	var known []route
	var errs []error
	for _, o := range routes {
		if o.unclear != nil {
			live, err := r.objects.Resource(o.resource).Namespace(k.Namespace).Get(ctx, o.name, metav1.GetOptions{})
			leads := false
			switch {
			case err == nil:
				leads, err = o.kind.router.leads(live, o.canary.on(live))
			case apierrors.IsNotFound(err):
				err = nil // It routes nothing.
			default:
				err = errors.Join(o.unclear, err)
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

// namedRoutes returns what the annotations of the manifest's Services name, each
// once.
func namedRoutes(m rollback.Manifest) []string {
	var all []string
	for _, object := range m {
		o := &unstructured.Unstructured{Object: object}
		if o.GetKind() != "Service" {
			continue
		}
		for name := range strings.SplitSeq(o.GetAnnotations()[routeAnnotation], ",") {
			if name = strings.TrimSpace(name); name != "" && !slices.Contains(all, name) {
				all = append(all, name)
			}
		}
	}
	return all
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
			errs = append(errs, fmt.Errorf("the annotation %s names %s, which namespace %s has not: want Kind/name, such as HTTPRoute/shop",
				routeAnnotation, text, k.Namespace))
		}
		routes, errs = append(routes, lead...), append(errs, leadErr)
	}
	return routes, errors.Join(errs...)
}

// found returns the routing objects of the namespace that lead to the canary's
// Services.
func (r *Router) found(ctx context.Context, k rollback.Key, c canary) ([]route, error) {
	routes, err := r.foundBy(ctx, k, c, atHand())
	if len(routes) == 0 && err == nil {
		return r.foundBy(ctx, k, c, metav1.ListOptions{})
	}
	return routes, err
}

func (r *Router) foundBy(ctx context.Context, k rollback.Key, c canary, o metav1.ListOptions) ([]route, error) {
	all, err := r.candidates(ctx, k, "", o)
	routes, leadErr := leading(all, c)
	if len(routes) > 0 {
		// What may not be read is most likely not there.
		err = nil
	}
	return routes, errors.Join(err, leadErr)
}

// candidate is a live routing object that may lead to the canary.
type candidate struct {
	route route
	live  *unstructured.Unstructured
}

// leading returns those candidates that lead to the canary.
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

// candidates lists the live routing objects of one kind, or of every kind if that
// is "", side by side. A kind that the cluster does not have is no error.
func (r *Router) candidates(ctx context.Context, k rollback.Key, kindName string, o metav1.ListOptions) ([]candidate, error) {
	var groups []schema.GroupKind
	for group := range kinds() {
		if (kindName == "" || kindName == group.Kind) && group.Kind != deploymentKind {
			groups = append(groups, group)
		}
	}
	slices.SortFunc(groups, func(a, b schema.GroupKind) int { return strings.Compare(a.String(), b.String()) })
	found := make([][]candidate, len(groups))
	errs := make([]error, len(groups))
	var all sync.WaitGroup
	for i, group := range groups {
		all.Go(func() { found[i], errs[i] = r.list(ctx, k.Namespace, group, o) })
	}
	all.Wait()
	return slices.Concat(found...), errors.Join(errs...)
}

// list lists the live objects of one kind.
func (r *Router) list(ctx context.Context, namespace string, group schema.GroupKind, o metav1.ListOptions) ([]candidate, error) {
	kind := kinds()[group]
	resource := schema.GroupVersionResource{Group: group.Group, Version: kind.version, Resource: kind.resource}
	list, err := r.objects.Resource(resource).Namespace(namespace).List(ctx, o)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, hinted(fmt.Errorf("list %s: %w", resource.GroupResource(), err), resource.GroupResource().String(), namespace)
	}
	var found []candidate
	for i := range list.Items {
		live := &list.Items[i]
		found = append(found, candidate{live: live, route: route{kind: kind, resource: resource, name: live.GetName()}})
	}
	return found, nil
}

// shared returns the canary's Deployments that stand behind a Service of the
// namespace together with Deployments of other releases.
func (r *Router) shared(ctx context.Context, k rollback.Key, c canary) ([]route, error) {
	if !slices.ContainsFunc(c.workloads, func(w workload) bool { return w.canary && w.kind == deploymentKind }) {
		return nil, nil
	}
	deployments := schema.GroupKind{Group: "apps", Kind: deploymentKind}
	services := schema.GroupVersionResource{Version: "v1", Resource: "services"}
	var live []candidate
	var list *unstructured.UnstructuredList
	var errs [2]error
	var all sync.WaitGroup
	all.Go(func() { live, errs[0] = r.list(ctx, k.Namespace, deployments, metav1.ListOptions{}) })
	all.Go(func() {
		list, errs[1] = r.objects.Resource(services).Namespace(k.Namespace).List(ctx, metav1.ListOptions{})
	})
	all.Wait()
	if err := errors.Join(errs[0], hinted(errs[1], "services", k.Namespace)); err != nil {
		return nil, fmt.Errorf("look for a Service that the canary shares: %w", err)
	}
	workloads := slices.Clone(c.workloads)
	for _, o := range live {
		w := workloadOf(o.live)
		own := slices.ContainsFunc(c.workloads, func(own workload) bool { return own.kind == w.kind && own.name == w.name })
		// The canary of another release is neither accused nor able to take over.
		if !own && !w.canary {
			workloads = append(workloads, w)
		}
	}
	for i := range list.Items {
		s := serviceOf(&list.Items[i])
		// Most Services lead elsewhere; not all Deployments are held against each.
		if slices.ContainsFunc(c.workloads, func(w workload) bool { return w.canary && s.selects(w) }) {
			c.share(s, workloads)
		}
	}
	return leading(live, c)
}
