package stage

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
)

// Kind is what an Event on a timeline is about.
type Kind string

// What a timeline sees at the API server.
const (
	// SawRecord is a record that was stored for the first time.
	SawRecord Kind = "record"
	// SawWeight is a new weight of a canary Ingress; Event.Value is the weight.
	SawWeight Kind = "weight"
	// SawRevision is a new status of a Helm revision; Event.Value is
	// "<revision> <status>".
	SawRevision Kind = "revision"
)

// Event is something that the API server committed, with the time at which its
// watch told of it.
type Event struct {
	Kind  Kind
	Name  string
	Value string
	At    time.Time
}

// Timeline watches the namespace at the API server. It knows nothing of backout:
// it sees what any client sees.
type Timeline struct {
	mu     sync.Mutex
	events []Event
	last   map[string]string
	// news is closed and replaced with each event.
	news chan struct{}
}

// Watch returns a timeline that is written until ctx ends. What is there already
// is noted as known and is no event.
func (s *Stage) Watch(ctx context.Context) (*Timeline, error) {
	t := &Timeline{last: make(map[string]string), news: make(chan struct{})}
	options := metav1.ListOptions{}
	maps, err := s.Client.CoreV1().ConfigMaps(Namespace).List(ctx, options)
	if err != nil {
		return nil, fmt.Errorf("list ConfigMaps: %w", err)
	}
	secrets, err := s.Client.CoreV1().Secrets(Namespace).List(ctx, options)
	if err != nil {
		return nil, fmt.Errorf("list Secrets: %w", err)
	}
	ingresses, err := s.Client.NetworkingV1().Ingresses(Namespace).List(ctx, options)
	if err != nil {
		return nil, fmt.Errorf("list Ingresses: %w", err)
	}
	for i := range maps.Items {
		t.note(&maps.Items[i])
	}
	for i := range secrets.Items {
		t.note(&secrets.Items[i])
	}
	for i := range ingresses.Items {
		t.note(&ingresses.Items[i])
	}
	t.events = nil
	from := func(version string) metav1.ListOptions { return metav1.ListOptions{ResourceVersion: version} }
	for _, open := range []func() (watch.Interface, error){
		func() (watch.Interface, error) {
			return s.Client.CoreV1().ConfigMaps(Namespace).Watch(ctx, from(maps.ResourceVersion))
		},
		func() (watch.Interface, error) {
			return s.Client.CoreV1().Secrets(Namespace).Watch(ctx, from(secrets.ResourceVersion))
		},
		func() (watch.Interface, error) {
			return s.Client.NetworkingV1().Ingresses(Namespace).Watch(ctx, from(ingresses.ResourceVersion))
		},
	} {
		w, err := open()
		if err != nil {
			return nil, fmt.Errorf("watch the namespace: %w", err)
		}
		go t.follow(ctx, w)
	}
	return t, nil
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
				t.note(event.Object)
			}
		}
	}
}

// note adds an event if the object says something new.
func (t *Timeline) note(object any) {
	e := Event{At: time.Now()}
	switch o := object.(type) {
	case *corev1.ConfigMap:
		if o.Labels["app.kubernetes.io/managed-by"] != "backout" {
			return
		}
		e.Kind, e.Name, e.Value = SawRecord, o.Name, "stored"
	case *corev1.Secret:
		if o.Labels["owner"] != "helm" {
			return
		}
		e.Kind, e.Name, e.Value = SawRevision, o.Name, o.Labels["version"]+" "+o.Labels["status"]
	case *networkingv1.Ingress:
		weight, ok := o.Annotations[WeightAnnotation]
		if !ok {
			return
		}
		e.Kind, e.Name, e.Value = SawWeight, o.Name, weight
	default:
		return
	}
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

// Events returns what was seen so far, in the order it was seen.
func (t *Timeline) Events() []Event {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.events)
}

// Next returns the event of that index, waiting for it until ctx ends.
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

// Await returns the first event of that kind and value, waiting for it until ctx
// ends.
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
