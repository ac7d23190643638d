package stage

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
)

// Kind is the kind of an Event on a timeline.
type Kind string

// The kinds of events at the API server.
const (
	// SawRecord is a record that was stored for the first time.
	SawRecord Kind = "record"
	// SawWeight is a new weight of the canary on an Ingress or an HTTPRoute;
	// Event.Value is the weight.
	SawWeight Kind = "weight"
	// SawRevision is a new status of a Helm revision; Event.Value is
	// "<revision> <status>".
	SawRevision Kind = "revision"
)

// Event is a write that the API server committed, with the time at which its watch
// reported it.
type Event struct {
	Kind  Kind
	Value string
	At    time.Time
	// Object is the kind of the object, Name its name.
	Object, Name string
}

// Timeline watches the namespace at the API server. It does not use backout: it sees
// what any client sees.
type Timeline struct {
	mu     sync.Mutex
	events []Event
	last   map[string]string
	// news is closed and replaced with each event.
	news chan struct{}
}

// watched returns the kinds of objects that a timeline watches.
func watched() []schema.GroupVersionResource {
	return []schema.GroupVersionResource{
		{Version: "v1", Resource: "configmaps"},
		{Version: "v1", Resource: "secrets"},
		{Group: "networking.k8s.io", Version: "v1", Resource: "ingresses"},
		{Group: "gateway.networking.k8s.io", Version: "v1", Resource: "httproutes"},
	}
}

// Watch returns a timeline of the usual place.
func (c *Cluster) Watch(ctx context.Context) (*Timeline, error) { return c.Usual().Watch(ctx) }

// Watch returns a timeline of the place.
func (p Place) Watch(ctx context.Context) (*Timeline, error) {
	return Watch(ctx, p.Config, p.Namespace)
}

// Watch returns a timeline of a namespace of any cluster, which receives events until
// ctx ends. Objects that exist already are not events. HTTPRoutes are watched if the
// Gateway API is installed.
func Watch(ctx context.Context, config *rest.Config, namespace string) (*Timeline, error) {
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("make a dynamic client: %w", err)
	}
	t := &Timeline{last: make(map[string]string), news: make(chan struct{})}
	var watches []watch.Interface
	for _, kind := range watched() {
		objects := client.Resource(kind).Namespace(namespace)
		known, err := objects.List(ctx, metav1.ListOptions{})
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("list %s: %w", kind.Resource, err)
		}
		for i := range known.Items {
			t.add(&known.Items[i])
		}
		w, err := objects.Watch(ctx, metav1.ListOptions{ResourceVersion: known.GetResourceVersion()})
		if err != nil {
			return nil, fmt.Errorf("watch %s: %w", kind.Resource, err)
		}
		watches = append(watches, w)
	}
	t.events = nil
	for _, w := range watches {
		go t.follow(ctx, w)
	}
	return t, nil
}

// routeWeight returns the weight of the canary's Service in an HTTPRoute's first
// rule.
func routeWeight(route *unstructured.Unstructured) (string, bool) {
	rules, _, _ := unstructured.NestedSlice(route.Object, "spec", "rules")
	if len(rules) == 0 {
		return "", false
	}
	refs, _, _ := unstructured.NestedSlice(rules[0].(map[string]any), "backendRefs")
	for _, ref := range refs {
		if backend, ok := ref.(map[string]any); ok && backend["name"] == CanaryService {
			return fmt.Sprint(backend["weight"]), true
		}
	}
	return "", false
}

func (t *Timeline) follow(ctx context.Context, w watch.Interface) {
	defer w.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case event, open := <-w.ResultChan():
			if !open {
				return
			}
			if event.Type == watch.Added || event.Type == watch.Modified {
				t.add(event.Object)
			}
		}
	}
}

// read returns the object's state as an event without a time.
func read(o *unstructured.Unstructured) (Event, bool) {
	e := Event{Object: o.GetKind(), Name: o.GetName()}
	labels := o.GetLabels()
	var ok bool
	switch o.GetKind() {
	case "ConfigMap":
		e.Kind, e.Value, ok = SawRecord, "stored", labels["app.kubernetes.io/managed-by"] == "backout"
	case "Secret":
		e.Kind, e.Value, ok = SawRevision, labels["version"]+" "+labels["status"], labels["owner"] == "helm"
	case "Ingress":
		e.Kind = SawWeight
		e.Value, ok = o.GetAnnotations()[WeightAnnotation]
	case "HTTPRoute":
		e.Kind = SawWeight
		e.Value, ok = routeWeight(o)
	}
	return e, ok
}

// add adds an event if the object's state has changed.
func (t *Timeline) add(object any) {
	o, ok := object.(*unstructured.Unstructured)
	if !ok {
		return // the end of a watch
	}
	e, ok := read(o)
	if !ok {
		return
	}
	e.At = time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	key := string(e.Kind) + "/" + e.Name
	if t.last[key] == e.Value {
		return
	}
	t.last[key] = e.Value
	t.events = append(t.events, e)
	close(t.news)
	t.news = make(chan struct{})
}

// Events returns the events so far, in the order in which they were seen.
func (t *Timeline) Events() []Event {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.events)
}

// Next returns the event with that index. It waits for the event until ctx ends.
func (t *Timeline) Next(ctx context.Context, index int) (Event, error) {
	for {
		t.mu.Lock()
		events, news := t.events, t.news
		t.mu.Unlock()
		if index < len(events) {
			return events[index], nil
		}
		select {
		case <-news:
		case <-ctx.Done():
			return Event{}, ctx.Err()
		}
	}
}

// Await returns the first event of that kind and value. It waits for the event until
// ctx ends.
func (t *Timeline) Await(ctx context.Context, kind Kind, value string) (Event, error) {
	for i := 0; ; i++ {
		e, err := t.Next(ctx, i)
		if err != nil {
			return e, fmt.Errorf("wait for %s %q: %w; seen: %v", kind, value, err, t.Events())
		}
		if e.Kind == kind && e.Value == value {
			return e, nil
		}
	}
}
