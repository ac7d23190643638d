package traffic

import (
	"context"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"github.com/upcommerce/backout/rollback"
)

// Helm's annotations on the live objects of a release.
// https://helm.sh/docs/howto/charts_tips_and_tricks/#using-helm-to-adopt-resources
const (
	releaseAnnotation          = "meta.helm.sh/release-name"
	releaseNamespaceAnnotation = "meta.helm.sh/release-namespace"
)

// snapshot is what was listed of one namespace. It answers a Router in place of the API
// server, so that a Gauge of any number of releases lists every kind once.
type snapshot struct {
	kinds   []listedKind
	objects map[schema.GroupResource][]unstructured.Unstructured
}

// Resource returns the objects of one kind.
func (s snapshot) Resource(r schema.GroupVersionResource) dynamic.NamespaceableResourceInterface {
	return cachedResource{resource: r.GroupResource(), items: s.objects[r.GroupResource()]}
}

// releases returns the live objects of each release as its manifest, always in the same
// order.
func (s snapshot) releases(namespace string) map[string]rollback.Manifest {
	found := make(map[string]rollback.Manifest)
	for _, k := range s.kinds {
		for _, o := range s.objects[k.resource.GroupResource()] {
			annotations := o.GetAnnotations()
			if name := annotations[releaseAnnotation]; name != "" && annotations[releaseNamespaceAnnotation] == namespace {
				found[name] = append(found[name], o.Object)
			}
		}
	}
	return found
}

// cachedResource is one kind of a snapshot. It implements only List and Get.
type cachedResource struct {
	dynamic.NamespaceableResourceInterface
	resource schema.GroupResource
	items    []unstructured.Unstructured
}

// Namespace returns the same objects: a snapshot has one namespace only.
func (c cachedResource) Namespace(string) dynamic.ResourceInterface { return c }

// List returns all objects and ignores selectors: every caller selects among them again.
func (c cachedResource) List(context.Context, metav1.ListOptions) (*unstructured.UnstructuredList, error) {
	return &unstructured.UnstructuredList{Items: c.items}, nil
}

// Get returns one object, or a not-found error.
func (c cachedResource) Get(_ context.Context, name string, _ metav1.GetOptions, _ ...string) (*unstructured.Unstructured, error) {
	for i := range c.items {
		if c.items[i].GetName() == name {
			return &c.items[i], nil
		}
	}
	return nil, apierrors.NewNotFound(c.resource, name)
}

// listedKind is a kind on which the canary's share depends.
type listedKind struct {
	resource schema.GroupVersionResource
	// older are the versions of earlier releases, newest first.
	older []string
	kind  string
	// routes says that its objects are routing objects, and pods that they make pods. A
	// Deployment only makes pods.
	routes, pods bool
}

// listed returns the routing kinds and those that decide which side is the canary, always in
// the same order.
func (r registry) listed() []listedKind {
	all := []listedKind{
		{resource: schema.GroupVersionResource{Version: "v1", Resource: "services"}, kind: "Service"},
		{resource: schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "daemonsets"}, kind: "DaemonSet", pods: true},
		{resource: schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "statefulsets"}, kind: "StatefulSet", pods: true},
		{resource: schema.GroupVersionResource{Group: "networking.istio.io", Version: "v1beta1", Resource: "destinationrules"}, kind: destinationRule},
	}
	for group, k := range r {
		all = append(all, listedKind{
			resource: schema.GroupVersionResource{Group: group.Group, Version: k.version, Resource: k.resource},
			older:    k.older, kind: group.Kind, routes: group.Kind != deploymentKind, pods: group.Kind == deploymentKind,
		})
	}
	slices.SortFunc(all, func(a, b listedKind) int { return strings.Compare(a.resource.String(), b.resource.String()) })
	return all
}
