package helm

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/upcommerce/backout/rollback"
)

// revisionMeta is the metadata of the object that stores a revision.
type revisionMeta struct {
	storage rollback.Storage
	number  int
	uid     string
	version string
	name    string
	status  rollback.Status
	// created is when the API server stored it, in whole seconds.
	created time.Time
	// claim is the UID of the suspect revision for which backout had Helm write this one.
	claim string
}

// cacheKey changes whenever the object does.
func (m revisionMeta) cacheKey() string { return m.uid + "@" + m.version }

// revisionMetas returns the release's revisions, newest first, without reading their
// contents. It returns rollback.ErrUnknownRelease if there is no revision, and
// rollback.ErrTwoStorages if more than one storage has some.
//
// The newest one is as the API server's store has it now. The older ones are at least as
// fresh as the newest one's last change: Follow's watch and the API server's cache
// receive changes in their order. A list from the store would wait for that cache too,
// up to a tenth of a second; it is made only if another revision turns out to be the
// newest.
func (c *Client) revisionMetas(ctx context.Context, k rollback.Key) ([]revisionMeta, error) {
	if metas := c.cachedMetas(ctx, k); len(metas) > 0 && c.isCurrent(ctx, k, metas[0]) {
		return metas, nil
	}
	return c.storedMetas(ctx, k)
}

// cachedMetas returns the release's revisions, newest first, as Follow has cached them,
// else as the API server has. It returns none if neither has, if they cannot be read, or if
// they are in more than one storage.
func (c *Client) cachedMetas(ctx context.Context, k rollback.Key) []revisionMeta {
	metas, _ := c.followed.metas(k)
	if len(metas) == 0 {
		metas, _ = c.listMetas(ctx, k, fromCache) // callers then list the store, and return its error
	}
	if inOneStorage(k, metas) != nil {
		return nil // so do they here
	}
	c.noteStored(k, metas)
	return metas
}

// storedMetas returns the same as revisionMetas, from a list of the store.
func (c *Client) storedMetas(ctx context.Context, k rollback.Key) ([]revisionMeta, error) {
	metas, err := c.listMetas(ctx, k, fromStore)
	if err != nil {
		return nil, fmt.Errorf("list the revisions of %s: %w", k, err)
	}
	if len(metas) == 0 {
		return nil, c.unknown(k)
	}
	if err := inOneStorage(k, metas); err != nil {
		return nil, err
	}
	c.noteStored(k, metas)
	return metas, nil
}

// The resourceVersions of a list: the API server's cache, and its store.
const (
	fromCache = "0"
	fromStore = ""
)

// listStorage lists the release's revisions in one storage, newest first.
func (c *Client) listStorage(ctx context.Context, k rollback.Key, s rollback.Storage, version string) ([]revisionMeta, error) {
	list, err := c.objects(s, k.Namespace).List(ctx, metav1.ListOptions{
		LabelSelector: labels.Set{"owner": "helm", "name": k.Release}.String(), ResourceVersion: version,
	})
	if err != nil {
		return nil, err
	}
	return metasOf(s, list.Items), nil
}

// metasOf converts the metadata of a storage's objects, newest revision first.
func metasOf(s rollback.Storage, items []metav1.PartialObjectMetadata) []revisionMeta {
	metas := make([]revisionMeta, 0, len(items))
	for _, item := range items {
		number, err := strconv.Atoi(item.Labels["version"])
		if err != nil || item.Name != objectName(item.Labels["name"], number) {
			continue // not written by Helm
		}
		metas = append(metas, revisionMeta{
			storage: s, number: number, uid: string(item.UID), version: item.ResourceVersion, created: item.CreationTimestamp.Time,
			name: item.Name, status: rollback.Status(item.Labels["status"]), claim: item.Annotations[claimAnnotation],
		})
	}
	return sortMetas(metas)
}

// sortMetas returns all of them, newest revision first.
func sortMetas(lists ...[]revisionMeta) []revisionMeta {
	metas := slices.Concat(lists...)
	slices.SortFunc(metas, func(a, b revisionMeta) int { return cmp.Compare(b.number, a.number) })
	return metas
}

// isCurrent reports whether the revision is the newest one and unchanged; false if that
// cannot be read.
func (c *Client) isCurrent(ctx context.Context, k rollback.Key, newest revisionMeta) bool {
	own, next, err := c.readNewest(ctx, k, newest)
	return err == nil && !next && own != nil && string(own.UID) == newest.uid && own.ResourceVersion == newest.version
}

// storedMaxAge is how long a storedAt is used. A revision declares the same forever, unless
// an uninstall and an install arrive at the same number within this time.
const storedMaxAge = 2 * time.Second

// storedAt is the object that contained a revision at some time.
type storedAt struct {
	storage  rollback.Storage
	cacheKey string
	at       time.Time
}

// noteStored remembers which objects contain the revisions.
func (c *Client) noteStored(k rollback.Key, metas []revisionMeta) {
	now := time.Now()
	for _, m := range metas {
		c.stored.Add(revisionKey(k, m.number), storedAt{m.storage, m.cacheKey(), now})
	}
}

// findStored returns the object that contains a revision: a recent storedAt, else from the
// object's metadata. It fails as storageOf does.
func (c *Client) findStored(ctx context.Context, k rollback.Key, revision int) (storedAt, error) {
	if s, ok := c.stored.Get(revisionKey(k, revision)); ok && time.Since(s.(storedAt).at) < storedMaxAge {
		return s.(storedAt), nil
	}
	storage, err := c.storageOf(ctx, k)
	if err != nil {
		return storedAt{}, err
	}
	o, err := c.objects(storage, k.Namespace).Get(ctx, objectName(k.Release, revision), metav1.GetOptions{})
	if err != nil {
		return storedAt{}, err
	}
	return storedAt{storage: storage, cacheKey: revisionMeta{uid: string(o.UID), version: o.ResourceVersion}.cacheKey()}, nil
}

func revisionKey(k rollback.Key, revision int) string {
	return k.String() + "@" + strconv.Itoa(revision)
}

// namePrefix begins the name of each object in which Helm stores a revision.
const namePrefix = "sh.helm.release.v1."

// objectName returns the name that Helm gives to the Secret or the ConfigMap of a revision.
func objectName(release string, revision int) string {
	return fmt.Sprintf("%s%s.v%d", namePrefix, release, revision)
}
