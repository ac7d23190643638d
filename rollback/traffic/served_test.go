package traffic

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clienttesting "k8s.io/client-go/testing"

	"github.com/upcommerce/backout/rollback"
)

// discovered is a discovery with these resources, by group version.
type discovered struct {
	resources map[string][]string
	err       error
	calls     int
}

func (d *discovered) ServerResourcesForGroupVersionWithContext(_ context.Context, groupVersion string) (*metav1.APIResourceList, error) {
	d.calls++
	if d.err != nil {
		return nil, d.err
	}
	names, ok := d.resources[groupVersion]
	if !ok {
		return nil, apierrors.NewNotFound(schema.GroupResource{}, groupVersion)
	}
	list := &metav1.APIResourceList{}
	for _, name := range names {
		list.APIResources = append(list.APIResources, metav1.APIResource{Name: name})
	}
	return list, nil
}

// The API server forbids lists of a kind that it does not serve, too. A release without a route
// needs no right to such a kind; silence about one that is served would hide its route.
func TestAKindThatIsNotServedIsNotForbidden(t *testing.T) {
	istio := map[string][]string{"networking.istio.io/v1beta1": {"virtualservices"}}
	for name, tc := range map[string]struct {
		discovery discovered
		reported  bool
	}{
		"the kind is served":          {discovered{resources: istio}, true},
		"its group is not served":     {discovered{}, false},
		"the group lacks the kind":    {discovered{resources: map[string][]string{"networking.istio.io/v1beta1": {"gateways"}}}, false},
		"the discovery is forbidden":  {discovered{err: apierrors.NewForbidden(schema.GroupResource{}, "", errors.New("no"))}, true},
		"the discovery fails":         {discovered{err: errors.New("connection refused")}, true},
		"another version of it alone": {discovered{resources: map[string][]string{"networking.istio.io/v1": {"virtualservices"}}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			client := cluster(t)
			client.PrependReactor("list", "virtualservices", func(clienttesting.Action) (bool, runtime.Object, error) {
				return true, nil, apierrors.NewForbidden(schema.GroupResource{Resource: "virtualservices"}, "", errors.New("no"))
			})
			router := routerOn(client)
			router.serving = &serving{discovery: &tc.discovery}
			routing, err := router.Observe(t.Context(), shop(), rollback.Manifest{object(t, canaryService)}, rollback.Stored)
			if reported := err != nil && strings.Contains(err.Error(), "allow backout to list virtualservices.networking.istio.io"); reported != tc.reported || err != nil && !tc.reported {
				t.Errorf("the missing right is reported: want %t, got %v", tc.reported, err)
			}
			if len(routing.Weights) > 0 {
				t.Errorf("the release has no route: got %v", routing.Weights)
			}
		})
	}
}

// A kind that the discovery lacks is not looked for at each observation, and is found soon after it
// was added.
func TestAbsentKindsAreRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &discovered{}
		s := &serving{discovery: d}
		resource := schema.GroupVersionResource{Group: "networking.istio.io", Version: "v1beta1", Resource: "virtualservices"}
		for range 5 {
			if !s.lacks(t.Context(), resource) {
				t.Error("a kind that the discovery lacks is served")
			}
		}
		if d.calls != 1 {
			t.Errorf("the discovery was read %d times, want once", d.calls)
		}
		d.resources = map[string][]string{"networking.istio.io/v1beta1": {"virtualservices"}}
		time.Sleep(absentFor)
		if s.lacks(t.Context(), resource) {
			t.Error("a kind that was added is not found")
		}
	})
}
