package helm

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"helm.sh/helm/v3/pkg/release"
	"helm.sh/helm/v3/pkg/storage/driver"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/metadata"

	"github.com/upcommerce/backout/rollback"
)

// head is what the metadata of a revision's Secret says.
type head struct {
	number  int
	uid     string
	version string
	name    string
	status  rollback.Status
	// claim is the UID of the accused revision that backout had this one written
	// for.
	claim string
}

// cacheKey changes whenever the Secret does.
func (h head) cacheKey() string { return h.uid + "@" + h.version }

// heads returns the release's revisions, newest first, without reading their
// contents. It returns rollback.ErrUnknownRelease if there are none.
//
// The newest one is as the API server's store has it now. What is said of the older
// ones is at least as new as the newest one's last change: what is followed, and the
// API server's cache, hear of changes in their order. A list from the store would
// wait for that cache too, up to a tenth of a second; it is made only where the
// newest revision turns out to be another one.
func (c *Client) heads(ctx context.Context, k rollback.Key) ([]head, error) {
	if heads := c.glance(ctx, k); len(heads) > 0 && c.current(ctx, k, heads[0]) {
		return heads, nil
	}
	return c.stored(ctx, k)
}

// glance returns the release's revisions, newest first, as they are at hand: by
// Follow, else in the API server's cache. None may mean that they are not.
func (c *Client) glance(ctx context.Context, k rollback.Key) []head {
	heads := c.followed.heads(k)
	if len(heads) == 0 {
		heads, _ = c.list(ctx, k, fromCache) // whoever needs to know asks the store
	}
	c.sight(k, heads)
	return heads
}

// sight notes which Secrets hold the revisions.
func (c *Client) sight(k rollback.Key, heads []head) {
	now := time.Now()
	for _, h := range heads {
		c.seen.Add(sightKey(k, h.number), sighting{h.cacheKey(), now})
	}
}

// stored returns what heads does, from a list of the store.
func (c *Client) stored(ctx context.Context, k rollback.Key) ([]head, error) {
	heads, err := c.list(ctx, k, fromStore)
	if err != nil {
		return nil, fmt.Errorf("list the revisions of %s: %w", k, err)
	}
	if len(heads) == 0 {
		return nil, fmt.Errorf("%s: %w", k, rollback.ErrUnknownRelease)
	}
	c.sight(k, heads)
	return heads, nil
}

// The resourceVersions of a list: whatever the API server has at hand, and what is
// so now.
const (
	fromCache = "0"
	fromStore = ""
)

// list returns what a list of the release's Secrets says, newest revision first.
func (c *Client) list(ctx context.Context, k rollback.Key, version string) ([]head, error) {
	list, err := c.heading(k).List(ctx, metav1.ListOptions{
		LabelSelector: labels.Set{"owner": "helm", "name": k.Release}.String(), ResourceVersion: version,
	})
	if err != nil {
		return nil, err
	}
	return headsOf(list.Items), nil
}

// headsOf reads the metadata of Secrets, newest revision first.
func headsOf(items []metav1.PartialObjectMetadata) []head {
	heads := make([]head, 0, len(items))
	for _, item := range items {
		number, err := strconv.Atoi(item.Labels["version"])
		if err != nil {
			continue // not written by Helm
		}
		heads = append(heads, head{
			number: number, uid: string(item.UID), version: item.ResourceVersion,
			name: item.Name, status: rollback.Status(item.Labels["status"]), claim: item.Annotations[claimAnnotation],
		})
	}
	slices.SortFunc(heads, func(a, b head) int { return cmp.Compare(b.number, a.number) })
	return heads
}

// current reports whether the revision is the newest one, and unchanged. What cannot
// be read is not.
func (c *Client) current(ctx context.Context, k rollback.Key, newest head) bool {
	own, next, err := c.newest(ctx, k, newest.number)
	return err == nil && !next && own != nil && string(own.UID) == newest.uid && own.ResourceVersion == newest.version
}

// heading reads the metadata of Secrets of the release's namespace.
func (c *Client) heading(k rollback.Key) metadata.ResourceInterface {
	return c.metadata.Resource(corev1.SchemeGroupVersion.WithResource("secrets")).Namespace(k.Namespace)
}

// History returns the release's revisions, newest first. What was read of a
// revision is kept until its Secret changes, so that a release with a long
// history costs one list of metadata.
//
// A revision that cannot be decoded has no Content and so is never a target. One
// that cannot be read now is an error: without it, another revision could be
// taken for the newest good one.
//
// The newest revision is as the API server's store has it, as heads says.
func (c *Client) History(ctx context.Context, k rollback.Key) (rollback.History, error) {
	if heads := c.glance(ctx, k); len(heads) > 0 {
		var current bool
		var looking sync.WaitGroup
		looking.Go(func() { current = c.current(ctx, k, heads[0]) })
		history, err := c.describe(ctx, k, heads)
		if looking.Wait(); current {
			return history, err
		}
	}
	heads, err := c.stored(ctx, k)
	if err != nil {
		return nil, err
	}
	return c.describe(ctx, k, heads)
}

// HistoryAtHand returns the release's revisions, newest first, as Follow was last told
// of them, if every one of them was read before; and whether it was. It asks nobody:
// while Follow does not run, or cannot watch, what it returns is as old as that.
func (c *Client) HistoryAtHand(k rollback.Key) (rollback.History, bool) {
	heads := c.followed.heads(k)
	history := make(rollback.History, 0, len(heads))
	for _, h := range heads {
		known, ok := c.digests.Get(h.cacheKey())
		if !ok {
			return nil, false
		}
		history = append(history, known.(rollback.Revision))
	}
	c.sight(k, heads)
	return history, len(history) > 0
}

// describe returns what is known of the revisions, and reads what is not.
func (c *Client) describe(ctx context.Context, k rollback.Key, heads []head) (rollback.History, error) {
	history := make(rollback.History, len(heads))
	var reading errgroup.Group
	reading.SetLimit(maxReads)
	for i, h := range heads {
		reading.Go(func() error {
			var declared rollback.Manifest
			var err error
			history[i], declared, err = c.revision(ctx, k, h)
			if i == 0 && declared != nil {
				c.manifests.add(h.cacheKey(), declared) // the next thing that is asked for
			}
			return err
		})
	}
	if err := reading.Wait(); err != nil {
		return nil, err
	}
	return history, nil
}

// maxReads bounds how many revisions of a release are read and decoded at a time:
// one can be a megabyte.
const maxReads = 4

// revision returns what is known of a revision, or reads it and returns its manifest
// too, if it has one that can be built.
func (c *Client) revision(ctx context.Context, k rollback.Key, h head) (rollback.Revision, rollback.Manifest, error) {
	if known, ok := c.digests.Get(h.cacheKey()); ok {
		return known.(rollback.Revision), nil, nil
	}
	rev := rollback.Revision{Number: h.number, UID: h.uid, Status: h.status, Claim: h.claim}
	stored, err := read(c.store(k.Namespace), h.name)
	switch {
	case ctx.Err() != nil:
		return rev, nil, ctx.Err()
	case errors.Is(err, errCorrupt):
		c.log.WarnContext(ctx, "revision not readable", "namespace", k.Namespace, "release", k.Release, "revision", h.number, "error", err)
		return rev, nil, nil
	case err != nil:
		return rev, nil, fmt.Errorf("read revision %d of %s: %w", h.number, k, err)
	}
	declared, err := objects(stored.Manifest)
	if err != nil {
		declared = nil // Helm could not go back to it either
	}
	rev = described(k, rev, stored, declared)
	c.digests.Add(h.cacheKey(), rev)
	return rev, declared, nil
}

// errCorrupt says that a Secret has the labels of a revision and cannot be
// decoded as one.
var errCorrupt = errors.New("it does not hold a Helm revision")

// read reads and decodes one stored revision. Helm's driver panics on a Secret
// that it cannot decode; that becomes errCorrupt.
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

func described(k rollback.Key, rev rollback.Revision, stored *release.Release, declared rollback.Manifest) rollback.Revision {
	rev.Description = stored.Info.Description
	rev.Chart = stored.Chart.Metadata.Name
	rev.Deployed = stored.Info.LastDeployed.Time
	rev.Content, rev.Versions = digest(k.Namespace, declared)
	rev.Owner = ownerOf(k, 0, declared)
	for _, h := range stored.Hooks {
		if h != nil && (slices.Contains(h.Events, release.HookPreUpgrade) || slices.Contains(h.Events, release.HookPostUpgrade)) {
			rev.Hooks = append(rev.Hooks, h.Name)
		}
	}
	return rev
}

// secretName is how Helm names a revision's Secret.
func secretName(release string, revision int) string {
	return fmt.Sprintf("sh.helm.release.v1.%s.v%d", release, revision)
}
