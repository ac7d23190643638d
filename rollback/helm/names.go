package helm

import (
	"context"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/upcommerce/backout/rollback"
)

// Names returns the releases of a namespace, or of all namespaces if that is "", in
// order. It reads labels only, and needs the right to list Secrets there.
func (c *Client) Names(ctx context.Context, namespace string) ([]rollback.Key, error) {
	list, err := c.secretMetadata(rollback.Key{Namespace: namespace}).List(ctx, metav1.ListOptions{LabelSelector: "owner=helm,name"})
	if err != nil {
		return nil, fmt.Errorf("list the releases: %w", err)
	}
	var keys []rollback.Key
	for _, item := range list.Items {
		keys = append(keys, rollback.Key{Namespace: item.Namespace, Release: item.Labels["name"]})
	}
	slices.SortFunc(keys, func(a, b rollback.Key) int { return strings.Compare(a.String(), b.String()) })
	return slices.Compact(keys), nil
}
