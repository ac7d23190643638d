package helm

import (
	"context"
	"fmt"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/parallel"
)

// maxReads bounds how many revisions of a release are read and decoded at a time: one
// can be a megabyte.
const maxReads = 4

// History returns the release's revisions, newest first. It caches the contents of a
// revision until its object changes, so that a release with a long history costs one
// list of metadata.
//
// A revision that cannot be decoded, or that exceeds the bounds, stays in the history: its
// Unreadable says why. A revision that cannot be read now is an error: without it, another
// revision could be taken for the newest good one.
//
// With rollback.Stored, the newest revision is the stored one, as revisionMetas says.
// With rollback.Cached, the revisions are those that Follow's watch has delivered,
// without a request; they are as old as that if Follow does not run or cannot watch.
// Then rollback.ErrNotCached says that a revision was never read or that the watch does not
// cover the release, and rollback.ErrUnknownRelease that it has no revision of it. Both return
// rollback.ErrTwoStorages for a release in more than one storage.
func (c *Client) History(ctx context.Context, k rollback.Key, consistency rollback.Consistency) (rollback.History, error) {
	if consistency == rollback.Cached {
		return c.cachedHistory(k)
	}
	if metas := c.cachedMetas(ctx, k); len(metas) > 0 {
		var current bool
		var checking parallel.WaitGroup
		checking.Go(func() { current = c.isCurrent(ctx, k, metas[0]) })
		history, err := c.readHistory(ctx, k, metas)
		if checking.Wait(); current {
			return history, err
		}
	}
	metas, err := c.storedMetas(ctx, k)
	if err != nil {
		return nil, err
	}
	return c.readHistory(ctx, k, metas)
}

// cachedHistory returns the revisions that Follow's watch has delivered, if every one of
// them was read before.
func (c *Client) cachedHistory(k rollback.Key) (rollback.History, error) {
	metas, covered := c.followed.metas(k)
	if !covered {
		return nil, fmt.Errorf("history of %s: %w", k, rollback.ErrNotCached)
	}
	if len(metas) == 0 {
		return nil, c.unknown(k)
	}
	if err := inOneStorage(k, metas); err != nil {
		return nil, err
	}
	history := make(rollback.History, 0, len(metas))
	for _, m := range metas {
		known, ok := c.digests.Get(m.cacheKey())
		if !ok {
			return nil, fmt.Errorf("history of %s: %w", k, rollback.ErrNotCached)
		}
		history = append(history, known.(rollback.Revision))
	}
	c.noteStored(k, metas)
	return history, nil
}

// readHistory returns the revisions, and reads those that are not cached.
func (c *Client) readHistory(ctx context.Context, k rollback.Key, metas []revisionMeta) (rollback.History, error) {
	history := make(rollback.History, len(metas))
	reading := parallel.NewGroup()
	reading.SetLimit(maxReads)
	for i, m := range metas {
		reading.Go(func() error {
			var declared rollback.Manifest
			var err error
			history[i], declared, err = c.revision(ctx, k, m)
			if i == 0 && declared != nil {
				c.manifests.add(m.cacheKey(), declared) // callers ask for the newest manifest next
			}
			return err
		})
	}
	if err := reading.Wait(); err != nil {
		return nil, err
	}
	return history, nil
}
