package helm

import (
	"context"
	"fmt"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/upcommerce/backout/rollback"
)

// Newest returns nil if that revision, by number and UID, is still the release's
// newest, and rollback.ErrMoved if it is gone, another one, or no longer the newest.
//
// It reads two Secrets by name, side by side: Helm numbers without gaps. A list
// would wait until the API server's cache has caught up with its store, up to a tenth
// of a second.
func (c *Client) Newest(ctx context.Context, k rollback.Key, revision rollback.Revision) error {
	secrets := c.metadata.Resource(corev1.SchemeGroupVersion.WithResource("secrets")).Namespace(k.Namespace)
	var (
		reading      sync.WaitGroup
		own          *metav1.PartialObjectMetadata
		err, nextErr error
	)
	reading.Go(func() {
		_, nextErr = secrets.Get(ctx, secretName(k.Release, revision.Number+1), metav1.GetOptions{})
	})
	own, err = secrets.Get(ctx, secretName(k.Release, revision.Number), metav1.GetOptions{})
	reading.Wait()
	switch {
	case apierrors.IsNotFound(err):
		return fmt.Errorf("revision %d of %s is gone: %w", revision.Number, k, rollback.ErrMoved)
	case err != nil:
		return fmt.Errorf("read revision %d of %s: %w", revision.Number, k, err)
	case string(own.UID) != revision.UID:
		return fmt.Errorf("revision %d of %s is of another life: %w", revision.Number, k, rollback.ErrMoved)
	case nextErr == nil:
		return fmt.Errorf("%s is at revision %d or later: %w", k, revision.Number+1, rollback.ErrMoved)
	case !apierrors.IsNotFound(nextErr):
		return fmt.Errorf("read revision %d of %s: %w", revision.Number+1, k, nextErr)
	}
	return nil
}
