package helm

import (
	"context"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/parallel"
)

// EnsureNewest returns nil if that revision, by number and UID, is still the release's
// newest, and rollback.ErrRevisionChanged if it is gone, another one, no longer the
// newest, or being uninstalled.
//
// It reads two objects by name: a list would wait until the API server's cache has
// caught up with its store, up to a tenth of a second.
func (c *Client) EnsureNewest(ctx context.Context, k rollback.Key, revision rollback.Revision) error {
	storage, err := c.storageOf(ctx, k)
	if errors.Is(err, rollback.ErrUnknownRelease) {
		return fmt.Errorf("revision %d of %s is gone: %w", revision.Number, k, rollback.ErrRevisionChanged)
	}
	if err != nil {
		return err
	}
	own, next, err := c.readNewest(ctx, k, revisionMeta{storage: storage, number: revision.Number})
	switch {
	case own == nil && err == nil:
		return fmt.Errorf("revision %d of %s is gone: %w", revision.Number, k, rollback.ErrRevisionChanged)
	case own != nil && string(own.UID) != revision.UID:
		return fmt.Errorf("revision %d of %s is of another installation: %w", revision.Number, k, rollback.ErrRevisionChanged)
	case own != nil && isUninstalled(own):
		return fmt.Errorf("%s is being uninstalled: %w", k, rollback.ErrRevisionChanged)
	case next:
		return fmt.Errorf("%s is at revision %d or later: %w", k, revision.Number+1, rollback.ErrRevisionChanged)
	}
	return err
}

// isUninstalled reports whether Helm is uninstalling the release, or has uninstalled it
// and kept its history.
func isUninstalled(stored *metav1.PartialObjectMetadata) bool {
	status := rollback.Status(stored.Labels["status"])
	return status == rollback.StatusUninstalling || status == rollback.StatusUninstalled
}

// readNewest reads in parallel the metadata of a revision, nil if it does not exist, and
// whether there is one after it. Helm numbers revisions without gaps.
func (c *Client) readNewest(ctx context.Context, k rollback.Key, newest revisionMeta) (own *metav1.PartialObjectMetadata, next bool, err error) {
	reading := parallel.NewGroup()
	var after *metav1.PartialObjectMetadata
	reading.Go(func() (err error) {
		after, err = c.revisionMetadata(ctx, k, newest.storage, newest.number+1)
		return err
	})
	own, err = c.revisionMetadata(ctx, k, newest.storage, newest.number)
	return own, after != nil, errors.Join(err, reading.Wait())
}

// revisionMetadata reads the metadata of a revision; nil if it does not exist.
func (c *Client) revisionMetadata(ctx context.Context, k rollback.Key, s rollback.Storage, number int) (*metav1.PartialObjectMetadata, error) {
	found, err := c.objects(s, k.Namespace).Get(ctx, objectName(k.Release, number), metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("read revision %d of %s: %w", number, k, err)
	}
	return found, nil
}
