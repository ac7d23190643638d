package traffic

import (
	"context"
	"slices"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// absentFor is how long a kind counts as absent after the discovery did not have it.
const absentFor = 10 * time.Second

// serving says which kinds the API server serves. It forbids lists of a kind that it does not
// serve as well, if backout has no right to that, so that a refusal alone does not say whether
// there may be a route. It is safe for concurrent use.
type serving struct {
	discovery interface {
		ServerResourcesForGroupVersionWithContext(ctx context.Context, groupVersion string) (*metav1.APIResourceList, error)
	}

	mu     sync.Mutex
	absent map[schema.GroupVersionResource]time.Time
}

// lacks reports whether the API server does not serve the kind. A kind of which it does not say
// so is served, and a refusal of it has to be reported.
func (s *serving) lacks(ctx context.Context, resource schema.GroupVersionResource) bool {
	if s == nil {
		return false
	}
	s.mu.Lock()
	found, known := s.absent[resource]
	s.mu.Unlock()
	if known && time.Since(found) < absentFor {
		return true
	}
	list, err := s.discovery.ServerResourcesForGroupVersionWithContext(ctx, resource.GroupVersion().String())
	if err != nil && !apierrors.IsNotFound(err) {
		return false
	}
	if err == nil && slices.ContainsFunc(list.APIResources, func(r metav1.APIResource) bool { return r.Name == resource.Resource }) {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.absent == nil {
		s.absent = make(map[schema.GroupVersionResource]time.Time)
	}
	s.absent[resource] = time.Now()
	return true
}
