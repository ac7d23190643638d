package helm

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"helm.sh/helm/v3/pkg/release"

	"github.com/upcommerce/backout/rollback"
)

// Bounds of the texts that are cached of a revision, in runes, and of their number.
const (
	maxDescription = 1000
	maxVersions    = 100
	maxHookNames   = 100
)

// revision returns a revision from the cache; or it reads the revision, and returns the
// manifest too if it can be decoded. For a revision that cannot be decoded, it returns
// what its object's metadata says, and why.
func (c *Client) revision(ctx context.Context, k rollback.Key, m revisionMeta) (rollback.Revision, rollback.Manifest, error) {
	if known, ok := c.digests.Get(m.cacheKey()); ok {
		return known.(rollback.Revision), nil, nil
	}
	rev := rollback.Revision{Number: m.number, UID: m.uid, Storage: m.storage, Status: m.status, Claim: m.claim, Deployed: m.created, TrackLabel: c.track.Option()}
	stored, err := read(ctx, c.store(m.storage, k.Namespace), m.name, c.decoding)
	var declared rollback.Manifest
	if err == nil {
		rev, declared, err = c.decode(ctx, k, rev, stored)
	}
	switch {
	case ctx.Err() != nil:
		return rev, nil, ctx.Err()
	case errors.Is(err, errCorrupt):
		rev = c.unreadable(ctx, k, rev, err)
	case err != nil:
		return rev, nil, fmt.Errorf("read revision %d of %s: %w", m.number, k, err)
	}
	c.digests.Add(m.cacheKey(), rev)
	return rev, declared, nil
}

// unreadable returns the revision as one that cannot be read, and logs and counts it.
func (c *Client) unreadable(ctx context.Context, k rollback.Key, rev rollback.Revision, err error) rollback.Revision {
	c.log.WarnContext(ctx, "revision not readable: it is never a target, and nothing is rolled back past it",
		"namespace", k.Namespace, "release", k.Release, "revision", rev.Number, "error", errorText(err))
	c.metrics.countUnreadable(err)
	rev.Unreadable = errorText(err)
	return rev
}

// decode completes rev by what the stored revision says and declares, and returns the
// manifest if it can be decoded. A panic becomes errCorrupt.
func (c *Client) decode(ctx context.Context, k rollback.Key, rev rollback.Revision, stored *release.Release) (_ rollback.Revision, declared rollback.Manifest, err error) {
	end, err := c.decoding.begin(ctx, manifestWeight*int64(len(stored.Manifest)))
	if err != nil {
		return rev, nil, err
	}
	defer end()
	defer func() {
		if cause := recover(); cause != nil {
			declared, err = nil, fmt.Errorf("decode the manifest: %w: %v", errCorrupt, cause)
		}
	}()
	declared, err = decodeManifest(stored.Manifest)
	switch {
	case errors.Is(err, errCorrupt):
		return rev, nil, err
	case err != nil:
		declared = nil // Helm could not roll back to it either
	}
	return c.described(k, rev, stored, declared), declared, nil
}

// described completes rev by what the stored revision says and declares.
func (c *Client) described(k rollback.Key, rev rollback.Revision, stored *release.Release, declared rollback.Manifest) rollback.Revision {
	rev.Description = rollback.Short(stored.Info.Description, maxDescription)
	rev.Chart = rollback.Short(stored.Chart.Metadata.Name, rollback.MaxName)
	rev.Deployed = deployedAt(rev.Deployed, stored.Info.LastDeployed.Time)
	d := declaration{track: c.track, namespace: k.Namespace, objects: declared, number: strconv.Itoa(rev.Number), names: chartNames(stored)}
	found := contentOf(d)
	rev.Content, rev.Canary = found.digest, rollback.Short(found.canary, rollback.MaxSummary)
	rev.Versions = found.versions[:min(len(found.versions), maxVersions)]
	rev.Images, rev.Pods = found.images[:min(len(found.images), maxVersions)], found.pods[:min(len(found.pods), maxVersions)]
	rev.Owner = rollback.ReleaseOwner(k, 0, declared)
	rev.Hooks = d.upgradeHooks(stored)
	return rev
}

// deployedAt returns when a revision was deployed: when the API server stored it, by
// the clock that the times of alerts and records are compared with. That time has whole
// seconds, so that Helm's own, which is that of the machine that ran Helm, counts if it lies
// within that second.
func deployedAt(created, byHelm time.Time) time.Time {
	if created.IsZero() || byHelm.Truncate(time.Second).Equal(created) {
		return byHelm
	}
	return created
}
