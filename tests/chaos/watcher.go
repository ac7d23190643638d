package chaos

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

	"github.com/upcommerce/backout/tests/env/stage"
)

// canary is the name of the canary's Deployment, as of its Ingress and Service.
const canary = stage.CanaryIngress

// Commit is a change that the API server committed.
type Commit struct {
	At time.Time
	// Version is the resourceVersion. All objects are in one etcd, so it orders the
	// events of different watches.
	Version int64
	// What is "weight 20", "revision 3 deployed", or "canary v2 ready" and
	// "canary v2 rolling", by the tag of its image.
	What string
}

// Watcher watches a trial's namespace at the API server, past the proxy.
type Watcher struct {
	mu      sync.Mutex
	commits []Commit
	last    map[string]string
	news    chan struct{}
}

// watchNamespace watches until ctx ends. Objects that exist already come first.
func watchNamespace(ctx context.Context, client kubernetes.Interface, namespace string) (*Watcher, error) {
	watcher := &Watcher{last: make(map[string]string), news: make(chan struct{})}
	all := metav1.ListOptions{ResourceVersion: "0"}
	ingresses, err := client.NetworkingV1().Ingresses(namespace).Watch(ctx, all)
	if err != nil {
		return nil, fmt.Errorf("watch the weight: %w", err)
	}
	deployments, err := client.AppsV1().Deployments(namespace).Watch(ctx, all)
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
				watcher.note(event.Object)
			}
		}()
	}
	return watcher, nil
}

// describe returns the What of a Commit of the object, "" if the trial has no use for it.
func describe(o runtime.Object) (m metav1.Object, what string) {
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

func (w *Watcher) note(o runtime.Object) {
	m, what := describe(o)
	if what == "" {
		return
	}
	version, err := strconv.ParseInt(m.GetResourceVersion(), 10, 64)
	if err != nil {
		return // not an object of this API server
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	// By object: each revision has an entry of its own. A write that leaves What as it was is no commit of interest.
	key := fmt.Sprintf("%T/%s", o, m.GetName())
	if w.last[key] == what {
		return
	}
	w.last[key] = what
	w.commits = append(w.commits, Commit{At: time.Now(), Version: version, What: what})
	close(w.news)
	w.news = make(chan struct{})
}

// Commits returns the commits so far, oldest first.
func (w *Watcher) Commits() []Commit {
	w.mu.Lock()
	defer w.mu.Unlock()
	commits := slices.Clone(w.commits)
	slices.SortFunc(commits, func(a, b Commit) int { return int(a.Version - b.Version) })
	return commits
}

// await waits for a commit that fits.
func (w *Watcher) await(ctx context.Context, fits func(Commit) bool) error {
	for {
		w.mu.Lock()
		news := w.news
		w.mu.Unlock()
		if slices.ContainsFunc(w.Commits(), fits) {
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
func zero(c Commit) bool { return c.What == "weight 0" }
