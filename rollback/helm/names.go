package helm

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/upcommerce/backout/rollback"
)

// Names returns the releases of a namespace, or of all namespaces if that is "", in
// order. It reads labels only, and needs the right to list the storages' kinds there:
// with an error, it returns the releases of those that it could list.
func (c *Client) Names(ctx context.Context, namespace string) ([]rollback.Key, error) {
	var keys []rollback.Key
	var errs []error
	for _, s := range c.storages {
		list, err := c.objects(s, namespace).List(ctx, metav1.ListOptions{LabelSelector: "owner=helm,name"})
		if err != nil {
			errs = append(errs, fmt.Errorf("list the releases in %ss: %w", s.Kind(), err))
			continue
		}
		for i := range list.Items {
			if k, ok := releaseOf(&list.Items[i]); ok {
				keys = append(keys, k)
			}
		}
	}
	slices.SortFunc(keys, func(a, b rollback.Key) int { return strings.Compare(a.String(), b.String()) })
	return slices.Compact(keys), errors.Join(errs...)
}
