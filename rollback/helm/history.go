package helm

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"helm.sh/helm/v3/pkg/release"
	"helm.sh/helm/v3/pkg/storage/driver"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

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
func (c *Client) heads(ctx context.Context, k rollback.Key) ([]head, error) {
	selector := labels.Set{"owner": "helm", "name": k.Release}.String()
	list, err := c.metadata.Resource(corev1.SchemeGroupVersion.WithResource("secrets")).Namespace(k.Namespace).
		List(ctx, metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		return nil, fmt.Errorf("list the revisions of %s: %w", k, err)
	}
	heads := make([]head, 0, len(list.Items))
	for _, item := range list.Items {
		number, err := strconv.Atoi(item.Labels["version"])
		if err != nil {
			continue // not written by Helm
		}
		heads = append(heads, head{
			number: number, uid: string(item.UID), version: item.ResourceVersion,
			name: item.Name, status: rollback.Status(item.Labels["status"]), claim: item.Annotations[claimAnnotation],
		})
	}
	if len(heads) == 0 {
		return nil, fmt.Errorf("%s: %w", k, rollback.ErrUnknownRelease)
	}
	slices.SortFunc(heads, func(a, b head) int { return cmp.Compare(b.number, a.number) })
	now := time.Now()
	for _, h := range heads {
		c.seen.Add(sightKey(k, h.number), sighting{h.cacheKey(), now})
	}
	return heads, nil
}

// History returns the release's revisions, newest first. What was read of a
// revision is kept until its Secret changes, so that a release with a long
// history costs one list of metadata.
//
// A revision that cannot be decoded has no Content and so is never a target. One
// that cannot be read now is an error: without it, another revision could be
// taken for the newest good one.
func (c *Client) History(ctx context.Context, k rollback.Key) (rollback.History, error) {
	heads, err := c.heads(ctx, k)
	if err != nil {
		return nil, err
	}
	history := make(rollback.History, len(heads))
	for i, h := range heads {
		if known, ok := c.digests.Get(h.cacheKey()); ok {
			history[i] = known.(rollback.Revision)
			continue
		}
		rev := rollback.Revision{Number: h.number, UID: h.uid, Status: h.status, Claim: h.claim}
		stored, err := read(c.store(k.Namespace), h.name)
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case errors.Is(err, errCorrupt):
			c.log.WarnContext(ctx, "revision not readable", "namespace", k.Namespace, "release", k.Release, "revision", h.number, "error", err)
			history[i] = rev
			continue
		case err != nil:
			return nil, fmt.Errorf("read revision %d of %s: %w", h.number, k, err)
		}
		declared, err := objects(stored.Manifest)
		if err == nil && i == 0 {
			c.manifests.add(h.cacheKey(), declared) // the next thing that is asked for
		}
		if err != nil {
			declared = nil // Helm could not go back to it either
		}
		history[i] = describe(k, rev, stored, declared)
		c.digests.Add(h.cacheKey(), history[i])
	}
	return history, nil
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

func describe(k rollback.Key, rev rollback.Revision, stored *release.Release, declared rollback.Manifest) rollback.Revision {
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
