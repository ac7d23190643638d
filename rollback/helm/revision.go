package helm

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"helm.sh/helm/v3/pkg/release"
	"helm.sh/helm/v3/pkg/storage/driver"

	"github.com/upcommerce/backout/rollback"
)

// revision returns a revision from the cache; or it reads the revision, and returns the
// manifest too if it can be decoded.
func (c *Client) revision(ctx context.Context, k rollback.Key, m revisionMeta) (rollback.Revision, rollback.Manifest, error) {
	if known, ok := c.digests.Get(m.cacheKey()); ok {
		return known.(rollback.Revision), nil, nil
	}
	rev := rollback.Revision{Number: m.number, UID: m.uid, Status: m.status, Claim: m.claim}
	stored, err := read(c.store(k.Namespace), m.name)
	switch {
	case ctx.Err() != nil:
		return rev, nil, ctx.Err()
	case errors.Is(err, errCorrupt):
		c.log.WarnContext(ctx, "revision not readable", "namespace", k.Namespace, "release", k.Release, "revision", m.number, "error", err)
		return rev, nil, nil
	case err != nil:
		return rev, nil, fmt.Errorf("read revision %d of %s: %w", m.number, k, err)
	}
	declared, err := decodeManifest(stored.Manifest)
	if err != nil {
		declared = nil // Helm could not roll back to it either
	}
	rev = described(k, rev, stored, declared)
	c.digests.Add(m.cacheKey(), rev)
	return rev, declared, nil
}

// errCorrupt says that a Secret has the labels of a revision but cannot be decoded.
var errCorrupt = errors.New("it does not contain a Helm revision")

// read reads and decodes one stored revision. Helm's driver panics on a Secret that it
// cannot decode; read returns errCorrupt instead.
func read(store driver.Driver, name string) (stored *release.Release, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			stored, err = nil, fmt.Errorf("decode Secret %s: %w", name, errCorrupt)
		}
	}()
	stored, err = store.Get(name)
	if err == nil && (stored.Info == nil || stored.Chart == nil || stored.Chart.Metadata == nil) {
		return nil, fmt.Errorf("decode Secret %s: %w", name, errCorrupt)
	}
	return stored, err
}

// described completes rev by what the stored revision says and declares.
func described(k rollback.Key, rev rollback.Revision, stored *release.Release, declared rollback.Manifest) rollback.Revision {
	rev.Description = stored.Info.Description
	rev.Chart = stored.Chart.Metadata.Name
	rev.Deployed = stored.Info.LastDeployed.Time
	rev.Content, rev.Versions = contentDigest(k.Namespace, declared)
	rev.Owner = rollback.ReleaseOwner(k, 0, declared)
	for _, h := range stored.Hooks {
		if h != nil && (slices.Contains(h.Events, release.HookPreUpgrade) || slices.Contains(h.Events, release.HookPostUpgrade)) {
			rev.Hooks = append(rev.Hooks, h.Name)
		}
	}
	return rev
}
