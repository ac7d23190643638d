package traffic

import (
	"context"
	"errors"
	"fmt"
	"sync"

	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/selection"

	"github.com/upcommerce/backout/rollback"
)

// endpoint is one address behind a Service that takes traffic.
type endpoint struct {
	service, pod string
}

// unready says which of the heirs could not take the canary's traffic, and why; ""
// if all could. Those that could not be asked about are in the error only.
func (r *Router) unready(ctx context.Context, namespace string, burdens []burden, early *asked) (string, error) {
	heirs := names{}
	subsets := make(map[string]map[string]string)
	for _, b := range burdens {
		if b.heir != "" {
			heirs[b.heir] = true
		}
		if b.subset != nil {
			subsets[labels.FormatLabels(b.subset)] = b.subset
		}
	}
	if len(heirs) == 0 {
		return "", nil
	}
	ready, pods, err := r.ready(ctx, namespace, heirs, subsets, early)
	for _, b := range burdens {
		_, asked := pods[labels.FormatLabels(b.subset)]
		if b.heir == "" || ready == nil || b.subset != nil && !asked {
			continue
		}
		what := "Service " + b.heir
		if b.subset != nil {
			what += " with " + labels.FormatLabels(b.subset)
		}
		if !serves(ready, b, pods[labels.FormatLabels(b.subset)]) {
			return what + " has no ready endpoint", err
		}
	}
	return "", err
}

// serves reports whether the burden's heir has an endpoint that is ready; where
// only a subset counts, one of those pods.
func serves(ready []endpoint, b burden, subset names) bool {
	for _, e := range ready {
		if e.service == b.heir && (b.subset == nil || subset[e.pod]) {
			return true
		}
	}
	return false
}

// ready returns the endpoints of the Services that take traffic, and the pods of
// each subset. What could not be read is nil, or missing among the subsets, and the
// error says why.
func (r *Router) ready(ctx context.Context, namespace string, services names, subsets map[string]map[string]string, early *asked) ([]endpoint, map[string]names, error) {
	var ready []endpoint
	var errs []error
	pods := make(map[string]names)
	var mu sync.Mutex
	var all sync.WaitGroup
	all.Go(func() {
		found, ok := early.about(services)
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

// asked are endpoints that were asked for before it was known which matter.
type asked struct {
	services names
	done     chan struct{}
	found    []endpoint
	err      error
}

// ask asks for the endpoints of the Services that the manifest declares beside the
// canary's: most heirs are among them, and nobody has to wait for the routes to know.
func (r *Router) ask(ctx context.Context, namespace string, m rollback.Manifest) *asked {
	a := &asked{services: names{}, done: make(chan struct{})}
	c := canaryOf(m)
	for _, s := range servicesOf(m) {
		if !c.services[s.name] {
			a.services[s.name] = true
		}
	}
	if len(a.services) == 0 {
		close(a.done)
		return a
	}
	go func() {
		defer close(a.done)
		a.found, a.err = r.endpoints(ctx, namespace, a.services)
	}()
	return a
}

// about returns the answer, if it is about all of the Services.
func (a *asked) about(services names) ([]endpoint, bool) {
	for s := range services {
		if !a.services[s] {
			return nil, false
		}
	}
	<-a.done
	return a.found, a.err == nil
}

func (r *Router) endpoints(ctx context.Context, namespace string, services names) ([]endpoint, error) {
	which, err := labels.NewRequirement(discoveryv1.LabelServiceName, selection.In, sorted(services))
	if err != nil {
		return nil, fmt.Errorf("ask for the endpoints of %v: %w", sorted(services), err)
	}
	of := atHand()
	of.LabelSelector = labels.NewSelector().Add(*which).String()
	list, err := r.objects.Resource(discoveryv1.SchemeGroupVersion.WithResource("endpointslices")).Namespace(namespace).List(ctx, of)
	if err != nil {
		return nil, hinted(fmt.Errorf("list the endpoints of %v: %w", sorted(services), err), "endpointslices.discovery.k8s.io", namespace)
	}
	ready := []endpoint{}
	for _, item := range list.Items {
		var slice discoveryv1.EndpointSlice
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(item.Object, &slice); err != nil {
			return nil, fmt.Errorf("read EndpointSlice %s/%s: %w", namespace, item.GetName(), err)
		}
		for _, e := range slice.Endpoints {
			// No word about it means ready, by the API's own rule.
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
func (r *Router) pods(ctx context.Context, namespace string, set map[string]string) (names, error) {
	of := atHand()
	of.LabelSelector = labels.SelectorFromSet(set).String()
	list, err := r.objects.Resource(schema.GroupVersionResource{Version: "v1", Resource: "pods"}).Namespace(namespace).List(ctx, of)
	if err != nil {
		return nil, hinted(fmt.Errorf("list the pods with %s: %w", labels.FormatLabels(set), err), "pods", namespace)
	}
	found := names{}
	for _, p := range list.Items {
		found[p.GetName()] = true
	}
	return found, nil
}

// hinted adds to a refusal what a person has to allow.
func hinted(err error, resource, namespace string) error {
	if apierrors.IsForbidden(err) {
		return fmt.Errorf("%w; allow backout to list %s in namespace %s", err, resource, namespace)
	}
	return err
}
