package helm

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/upcommerce/backout/rollback"
)

// ownerLimit limits the search for objects of other controllers, which a rollback can do
// without.
const ownerLimit = 3 * time.Second

// weightSettersBriefly returns what weightSetters finds within ownerLimit, and a note about
// what it could not read; "" if it could read everything.
func (c *Client) weightSettersBriefly(ctx context.Context, namespace string) (rollback.Manifest, string) {
	ctx, cancel := context.WithTimeout(ctx, ownerLimit)
	defer cancel()
	found, err := c.weightSetters(ctx, namespace)
	if err != nil {
		return found, "it is not known whether another controller sets the weights: " + err.Error()
	}
	return found, ""
}

// weightSetters reads the namespace's Canaries (Flagger) and Rollouts (Argo Rollouts);
// kinds that the API server does not serve have no objects. It returns what it could read
// with an error for each kind that is served and that backout may not list.
func (c *Client) weightSetters(ctx context.Context, namespace string) (rollback.Manifest, error) {
	var found rollback.Manifest
	var errs []error
	for _, kind := range []schema.GroupVersionResource{
		{Group: "flagger.app", Version: "v1beta1", Resource: "canaries"},
		{Group: "argoproj.io", Version: "v1alpha1", Resource: "rollouts"},
	} {
		list, err := c.dynamic.Resource(kind).Namespace(namespace).List(ctx, metav1.ListOptions{})
		if apierrors.IsForbidden(err) {
			err = c.forbiddenOrAbsent(ctx, kind, err)
		}
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("list %s in %s: %w", kind.GroupResource(), namespace, err))
			continue
		}
		for i := range list.Items {
			found = append(found, list.Items[i].Object)
		}
	}
	return found, errors.Join(errs...)
}

// forbiddenOrAbsent returns forbidden with a hint if the kind is served, and a NotFound
// error if it is not: the API server forbids lists of a kind that it does not serve,
// too. It reads the discovery again, because the kind may have been added since.
func (c *Client) forbiddenOrAbsent(ctx context.Context, kind schema.GroupVersionResource, forbidden error) error {
	served, err := c.clientset.Discovery().ServerResourcesForGroupVersionWithContext(ctx, kind.GroupVersion().String())
	if err != nil {
		return err
	}
	for _, r := range served.APIResources {
		if r.Name == kind.Resource {
			return fmt.Errorf("%w; such objects may set the canary's weight: add to backout's Role there {apiGroups: [%s], resources: [%s], verbs: [list]}",
				forbidden, kind.Group, kind.Resource)
		}
	}
	return apierrors.NewNotFound(kind.GroupResource(), "")
}
