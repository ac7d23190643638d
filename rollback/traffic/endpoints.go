package traffic

import (
	"context"
	"errors"
	"fmt"
	"sync"

	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/parallel"
)

// endpoint is one ready address behind a Service.
type endpoint struct {
	service, pod string
}

// readiness says whether something could take over one load.
type readiness struct {
	// why says why nothing could; "" if something could, or if that is not known.
	why     string
	unknown bool
}

// readinessOf returns the readiness of the takeover Service of each load. That of a backend
// whose endpoints cannot be read at all, such as a Service of another namespace, counts as
// good; that of a Service whose read failed is unknown, and the error says so.
func (r *Router) readinessOf(ctx context.Context, namespace string, loads []load, early *prefetch) ([]readiness, error) {
	services := sets.New[string]()
	subsets := make(map[string]map[string]string)
	for _, l := range loads {
		if l.takeover != "" {
			services.Insert(l.takeover)
		}
		if l.subset != nil {
			subsets[labels.FormatLabels(l.subset)] = l.subset
		}
	}
	found := make([]readiness, len(loads))
	if len(services) == 0 {
		return found, nil
	}
	ready, pods, err := r.ready(ctx, namespace, services, subsets, early)
	missing := sets.New[string]()
	for i, l := range loads {
		subset, read := pods[labels.FormatLabels(l.subset)]
		found[i].unknown = l.takeover != "" && (ready == nil || l.subset != nil && !read)
		if l.takeover == "" || found[i].unknown || l.servedBy(ready, subset) {
			continue
		}
		name := "Service " + l.takeover
		if l.subset != nil {
			name += " with " + labels.FormatLabels(l.subset)
		}
		found[i].why = name + " has no ready endpoint"
		missing.Insert(l.takeover)
	}
	if len(missing) == 0 {
		return found, err
	}
	external, externalErr := r.external(ctx, namespace, missing)
	for i, l := range loads {
		if external.Has(l.takeover) {
			found[i].why = ""
		}
	}
	return found, errors.Join(err, externalErr)
}

// external returns those of the Services that are a name outside of the cluster: they have no
// endpoints, and their readiness is unknown.
func (r *Router) external(ctx context.Context, namespace string, services sets.Set[string]) (sets.Set[string], error) {
	list, err := r.objects.Resource(schema.GroupVersionResource{Version: "v1", Resource: "services"}).Namespace(namespace).List(ctx, fromAPICache())
	if err != nil {
		return nil, withHint(fmt.Errorf("list the Services %v: %w", sets.List(services), err), "services", namespace)
	}
	found := sets.New[string]()
	for i := range list.Items {
		if kind, _, _ := unstructured.NestedString(list.Items[i].Object, "spec", "type"); kind == "ExternalName" && services.Has(list.Items[i].GetName()) {
			found.Insert(list.Items[i].GetName())
		}
	}
	return found, nil
}

// servedBy reports whether the takeover Service has a ready endpoint; if only a subset
// counts, one of those pods.
func (l load) servedBy(ready []endpoint, subset sets.Set[string]) bool {
	for _, e := range ready {
		if e.service == l.takeover && (l.subset == nil || subset.Has(e.pod)) {
			return true
		}
	}
	return false
}

// ready returns the ready endpoints of the Services, and the pods of each subset. Endpoints
// that could not be read are nil, and such a subset is absent; the error says why.
func (r *Router) ready(ctx context.Context, namespace string, services sets.Set[string], subsets map[string]map[string]string, early *prefetch) ([]endpoint, map[string]sets.Set[string], error) {
	var ready []endpoint
	var errs []error
	pods := make(map[string]sets.Set[string])
	var mu sync.Mutex
	var all parallel.WaitGroup
	all.Go(func() {
		found, ok := early.of(services)
		var err error
		if !ok {
			found, err = r.endpoints(ctx, namespace, services)
		}
		mu.Lock()
		defer mu.Unlock()
		ready, errs = found, append(errs, err)
	})
	for key, set := range subsets {
		all.Go(func() {
			found, err := r.pods(ctx, namespace, set)
			mu.Lock()
			defer mu.Unlock()
			if errs = append(errs, err); err == nil {
				pods[key] = found
			}
		})
	}
	all.Wait()
	return ready, pods, errors.Join(errs...)
}

// prefetch is a read of endpoints that begins before the routes are known.
type prefetch struct {
	services sets.Set[string]
	done     chan struct{}
	found    []endpoint
	err      error
	// panicked goes on in the step that needs the endpoints.
	panicked *parallel.Panic
}

// prefetch reads the endpoints of the manifest's Services other than the canary's. Most
// takeover Services are among them, so that Observe need not read the routes first.
func (r *Router) prefetch(ctx context.Context, namespace string, m rollback.Manifest) *prefetch {
	p := &prefetch{services: sets.New[string](), done: make(chan struct{})}
	c := r.kinds.canaryOf(m, r.track)
	for _, s := range servicesOf(m) {
		if !c.services.Has(s.name) {
			p.services.Insert(s.name)
		}
	}
	if len(p.services) == 0 {
		close(p.done)
		return p
	}
	go func() {
		defer close(p.done)
		p.panicked = parallel.Try(func() { p.found, p.err = r.endpoints(ctx, namespace, p.services) })
	}()
	return p
}

// of returns the endpoints if they are those of all the Services and could be read.
func (p *prefetch) of(services sets.Set[string]) ([]endpoint, bool) {
	if !p.services.IsSuperset(services) {
		return nil, false
	}
	<-p.done
	p.panicked.Raise()
	return p.found, p.err == nil
}

// endpoints returns the ready endpoints of the Services.
func (r *Router) endpoints(ctx context.Context, namespace string, services sets.Set[string]) ([]endpoint, error) {
	names := sets.List(services)
	of, err := labels.NewRequirement(discoveryv1.LabelServiceName, selection.In, names)
	if err != nil {
		return nil, fmt.Errorf("select the endpoints of %v: %w", names, err)
	}
	o := fromAPICache()
	o.LabelSelector = labels.NewSelector().Add(*of).String()
	list, err := r.objects.Resource(discoveryv1.SchemeGroupVersion.WithResource("endpointslices")).Namespace(namespace).List(ctx, o)
	if err != nil {
		return nil, withHint(fmt.Errorf("list the endpoints of %v: %w", names, err), "endpointslices.discovery.k8s.io", namespace)
	}
	ready := []endpoint{}
	for _, item := range list.Items {
		var slice discoveryv1.EndpointSlice
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(item.Object, &slice); err != nil {
			return nil, fmt.Errorf("read EndpointSlice %s/%s: %w", namespace, item.GetName(), err)
		}
		for _, e := range slice.Endpoints {
			// By the definition of the API, an absent condition means ready.
			if e.Conditions.Ready != nil && !*e.Conditions.Ready {
				continue
			}
			found := endpoint{service: slice.Labels[discoveryv1.LabelServiceName]}
			if e.TargetRef != nil && e.TargetRef.Kind == "Pod" {
				found.pod = e.TargetRef.Name
			}
			ready = append(ready, found)
		}
	}
	return ready, nil
}

// pods returns the names of the pods with those labels.
func (r *Router) pods(ctx context.Context, namespace string, set map[string]string) (sets.Set[string], error) {
	o := fromAPICache()
	o.LabelSelector = labels.SelectorFromSet(set).String()
	list, err := r.objects.Resource(schema.GroupVersionResource{Version: "v1", Resource: "pods"}).Namespace(namespace).List(ctx, o)
	if err != nil {
		return nil, withHint(fmt.Errorf("list the pods with %s: %w", labels.FormatLabels(set), err), "pods", namespace)
	}
	found := sets.New[string]()
	for _, p := range list.Items {
		found.Insert(p.GetName())
	}
	return found, nil
}
