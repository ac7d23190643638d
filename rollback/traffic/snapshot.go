package traffic

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"github.com/upcommerce/backout/rollback"
)

// Helm's own marks on the live objects of a release.
// https://helm.sh/docs/howto/charts_tips_and_tricks/#using-helm-to-adopt-resources
const (
	releaseAnnotation          = "meta.helm.sh/release-name"
	releaseNamespaceAnnotation = "meta.helm.sh/release-namespace"
)

// snapshot is what was listed of one namespace. It answers a Router as the API
// server would, so that a gauge of any number of releases asks for every kind once.
type snapshot map[schema.GroupResource][]unstructured.Unstructured

// Resource returns the objects of one kind.
func (s snapshot) Resource(r schema.GroupVersionResource) dynamic.NamespaceableResourceInterface {
	return shelf{resource: r.GroupResource(), items: s[r.GroupResource()]}
}

// releases returns the live objects of each release, which stand for its manifest,
// in an order that is always the same.
func (s snapshot) releases(namespace string) map[string]rollback.Manifest {
	found := make(map[string]rollback.Manifest)
	for _, k := range looked() {
		for _, o := range s[k.resource.GroupResource()] {
			annotations := o.GetAnnotations()
			if name := annotations[releaseAnnotation]; name != "" && annotations[releaseNamespaceAnnotation] == namespace {
				found[name] = append(found[name], o.Object)
			}
		}
	}
	return found
}

// shelf is the part of a snapshot with one kind. It can be read, and nothing else.
type shelf struct {
	dynamic.NamespaceableResourceInterface
	resource schema.GroupResource
	items    []unstructured.Unstructured
}

// Namespace returns the shelf itself: a snapshot has one namespace only.
func (s shelf) Namespace(string) dynamic.ResourceInterface { return s }

// List returns all objects: whoever lists selects among them once more.
func (s shelf) List(context.Context, metav1.ListOptions) (*unstructured.UnstructuredList, error) {
	return &unstructured.UnstructuredList{Items: s.items}, nil
}

// Get returns one object, or an error that says that it is not there.
func (s shelf) Get(_ context.Context, name string, _ metav1.GetOptions, _ ...string) (*unstructured.Unstructured, error) {
	for i := range s.items {
		if s.items[i].GetName() == name {
			return &s.items[i], nil
		}
	}
	return nil, apierrors.NewNotFound(s.resource, name)
}

// mention is a routing object in which a word stands.
type mention struct {
	resource schema.GroupResource
	index    int
}

// mentions returns the routing objects by the words in them. Without it, every
// release's canary would be looked for in every release's routes.
func (s snapshot) mentions() map[string][]mention {
	found := make(map[string][]mention)
	for group, kind := range kinds() {
		if group.Kind == deploymentKind {
			continue
		}
		resource := schema.GroupResource{Group: group.Group, Resource: kind.resource}
		for i, o := range s[resource] {
			for word := range wordsOf(o.Object) {
				found[word] = append(found[word], mention{resource: resource, index: i})
			}
		}
	}
	return found
}

// about returns the snapshot with those routing objects only that may have to do
// with the release: those in which one of its words stands. A subset of the canary's
// track need not be described by anybody.
func (s snapshot) about(m rollback.Manifest, mentions map[string][]mention) snapshot {
	words := names{trackCanary: true}
	for _, object := range m {
		o := &unstructured.Unstructured{Object: object}
		words[o.GetName()] = true
		if o.GetKind() == destinationRule {
			addWords(words, object["spec"])
		}
	}
	for _, route := range namedRoutes(m) {
		_, name, _ := strings.Cut(route, "/")
		words[name] = true
	}
	seen := make(map[mention]bool)
	part := make(snapshot)
	for _, word := range sorted(words) {
		for _, o := range mentions[word] {
			if !seen[o] {
				seen[o] = true
				part[o.resource] = append(part[o.resource], s[o.resource][o.index])
			}
		}
	}
	for _, k := range looked() {
		if k.pods || k.kind == "Service" {
			part[k.resource.GroupResource()] = s[k.resource.GroupResource()]
		}
	}
	return part
}

// wordsOf returns an object's name, and every word of its spec.
func wordsOf(object rollback.Object) names {
	o := &unstructured.Unstructured{Object: object}
	words := names{o.GetName(): true}
	addWords(words, object["spec"])
	return words
}

// addWords adds the texts below a node, and of each that has dots what is before
// them: the Service of a host.
func addWords(words names, node any) {
	switch n := node.(type) {
	case map[string]any:
		for _, value := range n {
			addWords(words, value)
		}
	case []any:
		for _, value := range n {
			addWords(words, value)
		}
	case string:
		words[n] = true
		if host, _, ok := strings.Cut(n, "."); ok {
			words[host] = true
		}
	}
}

// refusal is a kind that cannot be listed: in one namespace, or in any if that is
// "".
type refusal struct {
	namespace string
	resource  schema.GroupResource
}

// read lists everything in the namespace that has to do with canary weights, one
// kind after the other. It leaves out the kinds that the cluster has not or that
// backout may not list: they are most likely not in use.
func (g *Gauge) read(ctx context.Context, namespace string) (snapshot, error) {
	live := make(snapshot)
	for _, k := range looked() {
		group := k.resource.GroupResource()
		anywhere, here := refusal{resource: group}, refusal{namespace: namespace, resource: group}
		if now := time.Now(); now.Before(g.refused[anywhere]) || now.Before(g.refused[here]) {
			continue
		}
		items, err := g.list(ctx, namespace, k)
		switch {
		case apierrors.IsNotFound(err):
			g.refused[anywhere] = time.Now().Add(refusedInterval)
		case apierrors.IsForbidden(err):
			g.refuse(ctx, here, err)
		case err != nil:
			return nil, fmt.Errorf("list %s: %w", group, err)
		default:
			delete(g.refused, anywhere)
			delete(g.refused, here)
			live[group] = items
		}
	}
	return live, nil
}

// refuse notes that the kind may not be listed, and says so the first time. Without
// the Services nobody knows which side of a route is the canary; that matters.
func (g *Gauge) refuse(ctx context.Context, r refusal, err error) {
	if _, known := g.refused[r]; !known {
		level := slog.LevelDebug
		if r.resource.Resource == "services" {
			level = slog.LevelWarn
		}
		g.log.Log(ctx, level, "the canary weights are read without a kind that may not be listed",
			"namespace", r.namespace, "error", hinted(err, r.resource.String(), r.namespace))
	}
	g.refused[r] = time.Now().Add(refusedInterval)
}

const destinationRule = "DestinationRule"

// lookedAt is a kind that says where the canary's traffic goes. pods says that its
// objects make pods.
type lookedAt struct {
	resource schema.GroupVersionResource
	kind     string
	pods     bool
}

// looked returns the routing kinds, and those that tell which side is the canary, in
// order.
func looked() []lookedAt {
	all := []lookedAt{
		{resource: schema.GroupVersionResource{Version: "v1", Resource: "services"}, kind: "Service"},
		{resource: schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "daemonsets"}, kind: "DaemonSet", pods: true},
		{resource: schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "statefulsets"}, kind: "StatefulSet", pods: true},
		{resource: schema.GroupVersionResource{Group: "networking.istio.io", Version: "v1beta1", Resource: "destinationrules"}, kind: destinationRule},
	}
	for group, k := range kinds() {
		all = append(all, lookedAt{
			resource: schema.GroupVersionResource{Group: group.Group, Version: k.version, Resource: k.resource},
			kind:     group.Kind, pods: group.Kind == deploymentKind,
		})
	}
	slices.SortFunc(all, func(a, b lookedAt) int { return strings.Compare(a.resource.String(), b.resource.String()) })
	return all
}
