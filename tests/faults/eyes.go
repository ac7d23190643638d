package faults

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"

	"github.com/upcommerce/backout/tests/stage"
)

// canary is the name of the canary's Deployment, as of its Ingress and Service.
const canary = stage.CanaryIngress

// Sight is something that the API server committed.
type Sight struct {
	At time.Time
	// Version is the resourceVersion. One etcd keeps all of them, so that they
	// order what different watches tell.
	Version int64
	// What is "weight 20", "revision 3 deployed", or "canary v2 ready" and
	// "canary v2 rolling", by the tag of its image.
	What string
}

// Eyes watch a trial's namespace at the API server, past the proxy.
type Eyes struct {
	mu     sync.Mutex
	sights []Sight
	last   map[string]string
	news   chan struct{}
}

// open watches until ctx ends. What is there already is seen first.
func openEyes(ctx context.Context, client kubernetes.Interface, namespace string) (*Eyes, error) {
	e := &Eyes{last: make(map[string]string), news: make(chan struct{})}
	seen := metav1.ListOptions{ResourceVersion: "0"}
	ingresses, err := client.NetworkingV1().Ingresses(namespace).Watch(ctx, seen)
	if err != nil {
		return nil, fmt.Errorf("watch the weight: %w", err)
	}
	deployments, err := client.AppsV1().Deployments(namespace).Watch(ctx, seen)
	if err != nil {
		return nil, fmt.Errorf("watch the canary: %w", err)
	}
	secrets, err := client.CoreV1().Secrets(namespace).Watch(ctx, metav1.ListOptions{ResourceVersion: "0", LabelSelector: "owner=helm"})
	if err != nil {
		return nil, fmt.Errorf("watch the revisions: %w", err)
	}
	for _, w := range []watch.Interface{ingresses, deployments, secrets} {
		context.AfterFunc(ctx, w.Stop)
		go func() {
			for event := range w.ResultChan() {
				e.note(event.Object)
			}
		}()
	}
	return e, nil
}

// look returns what an object says, "" if nothing of interest.
func look(o runtime.Object) (m metav1.Object, what string) {
	switch o := o.(type) {
	case *networkingv1.Ingress:
		if weight, ok := o.Annotations[stage.WeightAnnotation]; ok {
			return o, "weight " + weight
		}
	case *corev1.Secret:
		return o, "revision " + o.Labels["version"] + " " + o.Labels["status"]
	case *appsv1.Deployment:
		if o.Name == canary {
			return o, "canary " + tag(o) + " " + state(o)
		}
	}
	return nil, ""
}

func tag(d *appsv1.Deployment) string {
	image := d.Spec.Template.Spec.Containers[0].Image
	return image[strings.LastIndex(image, ":")+1:]
}

func state(d *appsv1.Deployment) string {
	want, s := *d.Spec.Replicas, d.Status
	if s.ObservedGeneration < d.Generation || s.Replicas != want || s.UpdatedReplicas != want || s.AvailableReplicas != want {
		return "rolling"
	}
	return "ready"
}

func (e *Eyes) note(o runtime.Object) {
	m, what := look(o)
	if what == "" {
		return
	}
	version, err := strconv.ParseInt(m.GetResourceVersion(), 10, 64)
	if err != nil {
		return // no object of this API server
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	// A kind's word and its name: revisions are told apart, weights are one.
	key := fmt.Sprintf("%T/%s", o, m.GetName())
	if e.last[key] == what {
		return
	}
	e.last[key] = what
	e.sights = append(e.sights, Sight{At: time.Now(), Version: version, What: what})
	close(e.news)
	e.news = make(chan struct{})
}

// Sights returns what was seen so far, in the order of the commits.
func (e *Eyes) Sights() []Sight {
	e.mu.Lock()
	defer e.mu.Unlock()
	sights := slices.Clone(e.sights)
	slices.SortFunc(sights, func(a, b Sight) int { return int(a.Version - b.Version) })
	return sights
}

// await waits for a sight that fits.
func (e *Eyes) await(ctx context.Context, fits func(Sight) bool) error {
	for {
		e.mu.Lock()
		news := e.news
		e.mu.Unlock()
		if slices.ContainsFunc(e.Sights(), fits) {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-news:
		}
	}
}

// zero fits the canary's weight of zero.
func zero(s Sight) bool { return s.What == "weight 0" }
