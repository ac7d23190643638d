package router

import (
	"context"
	"fmt"
	"log/slog"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

func httpRoutes() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: gatewayv1.GroupName, Version: "v1", Resource: "httproutes"}
}

func definitions() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
}

// watch watches the API server and builds a new table after every change.
type watch struct {
	typed   informers.SharedInformerFactory
	routes  cache.SharedIndexInformer // of HTTPRoutes; runs once their definition exists
	defined cache.SharedIndexInformer // of that definition
	status  statusWriter
	changed chan struct{} // holds one: changes during the building of a table are in the next one
	gateway types.NamespacedName
	log     *slog.Logger
}

func newWatch(o Options) (*watch, error) {
	client, err := kubernetes.NewForConfig(o.Config)
	if err != nil {
		return nil, fmt.Errorf("make a client for the router: %w", err)
	}
	custom, err := dynamic.NewForConfig(o.Config)
	if err != nil {
		return nil, fmt.Errorf("make a client for the router: %w", err)
	}
	one := func(l *metav1.ListOptions) {
		l.FieldSelector = fields.OneTermEqualSelector(metav1.ObjectNameField, httpRoutes().GroupResource().String()).String()
	}
	return &watch{
		typed:   informers.NewSharedInformerFactory(client, 0),
		routes:  dynamicinformer.NewFilteredDynamicInformer(custom, httpRoutes(), metav1.NamespaceAll, 0, nil, nil).Informer(),
		defined: dynamicinformer.NewFilteredDynamicInformer(custom, definitions(), metav1.NamespaceAll, 0, nil, one).Informer(),
		status:  statusWriter{client: custom, gateway: o.Gateway, controller: gatewayv1.GatewayController(o.Controller), log: o.Log},
		changed: make(chan struct{}, 1),
		gateway: o.Gateway,
		log:     o.Log,
	}, nil
}

// run calls use with a new table after every change until ctx ends, first when all objects are listed.
func (w *watch) run(ctx context.Context, use func(*table)) {
	anything := cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { w.notify() },
		UpdateFunc: func(_, _ any) { w.notify() },
		DeleteFunc: func(any) { w.notify() },
	}
	ingresses := w.typed.Networking().V1().Ingresses()
	services := w.typed.Core().V1().Services()
	endpointSlices := w.typed.Discovery().V1().EndpointSlices()
	for _, informer := range []cache.SharedIndexInformer{ingresses.Informer(), services.Informer(), endpointSlices.Informer(), w.routes} {
		// It fails only for an informer that has stopped.
		_, _ = informer.AddEventHandler(anything)
	}
	w.awaitDefinition(ctx)
	w.typed.Start(ctx.Done())
	w.typed.WaitForCacheSync(ctx.Done())

	changed := make(chan objects, 1)
	go w.status.run(ctx, changed)
	splits := &splits{}
	splits.turn()
	for ctx.Err() == nil {
		var o objects
		// Listing a cache returns no errors.
		o.ingresses, _ = ingresses.Lister().List(labels.Everything())
		o.services, _ = services.Lister().List(labels.Everything())
		o.slices, _ = endpointSlices.Lister().List(labels.Everything())
		o.routes = w.httpRoutes()
		use(build(o, w.gateway, splits))
		replace(changed, o)
		select {
		case <-ctx.Done():
		case <-w.changed:
		}
	}
}

func (w *watch) notify() {
	select {
	case w.changed <- struct{}{}:
	default:
	}
}

// replace puts o into a channel of capacity one and drops a value that was not received yet. It must be the only sender.
func replace(channel chan objects, o objects) {
	select {
	case <-channel:
	default:
	}
	channel <- o
}

// awaitDefinition watches HTTPRoutes as soon as the API server serves them.
func (w *watch) awaitDefinition(ctx context.Context) {
	var once sync.Once
	check := func(o any) {
		if u, ok := o.(*unstructured.Unstructured); ok && established(u) {
			once.Do(func() { go w.routes.RunWithContext(ctx) })
		}
	}
	_, _ = w.defined.AddEventHandler(cache.ResourceEventHandlerFuncs{AddFunc: check, UpdateFunc: func(_, o any) { check(o) }})
	go w.defined.RunWithContext(ctx)
}

func established(definition *unstructured.Unstructured) bool {
	conditions, _, _ := unstructured.NestedSlice(definition.Object, "status", "conditions")
	for _, c := range conditions {
		if c, ok := c.(map[string]any); ok && c["type"] == "Established" && c["status"] == string(metav1.ConditionTrue) {
			return true
		}
	}
	return false
}

// httpRoutes returns the HTTPRoutes. The API server has validated them: one that cannot be decoded is of a newer version than
// the router supports.
func (w *watch) httpRoutes() []*gatewayv1.HTTPRoute {
	var found []*gatewayv1.HTTPRoute
	for _, o := range w.routes.GetStore().List() {
		u, ok := o.(*unstructured.Unstructured)
		if !ok {
			continue
		}
		var r gatewayv1.HTTPRoute
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, &r); err != nil {
			w.log.Error("an HTTPRoute could not be read", "namespace", u.GetNamespace(), "error", err)
			continue
		}
		found = append(found, &r)
	}
	return found
}
