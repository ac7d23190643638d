package helm

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/metadata"

	"github.com/upcommerce/backout/rollback"
)

// revisionMeta is the metadata of a revision's Secret.
type revisionMeta struct {
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

// cacheKey changes whenever the Secret does.
func (m revisionMeta) cacheKey() string { return m.uid + "@" + m.version }

// revisionMetas returns the release's revisions, newest first, without reading their
// contents. It returns rollback.ErrUnknownRelease if there is no revision.
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
// else as the API server has. It returns none if neither has, or if they cannot be read.
func (c *Client) cachedMetas(ctx context.Context, k rollback.Key) []revisionMeta {
	metas, _ := c.followed.metas(k)
	if len(metas) == 0 {
		metas, _ = c.listMetas(ctx, k, fromCache) // callers then list the store, and return its error
	}
	c.cacheSecrets(k, metas)
	return metas
}

// storedMetas returns the same as revisionMetas, from a list of the store.
func (c *Client) storedMetas(ctx context.Context, k rollback.Key) ([]revisionMeta, error) {
	metas, err := c.listMetas(ctx, k, fromStore)
	if err != nil {
		return nil, fmt.Errorf("list the revisions of %s: %w", k, err)
	}
	if len(metas) == 0 {
		return nil, fmt.Errorf("%s: %w", k, rollback.ErrUnknownRelease)
	}
	c.cacheSecrets(k, metas)
	return metas, nil
}

// The resourceVersions of a list: the API server's cache, and its store.
const (
	fromCache = "0"
	fromStore = ""
)

// listMetas lists the release's Secrets, newest revision first.
func (c *Client) listMetas(ctx context.Context, k rollback.Key, version string) ([]revisionMeta, error) {
	list, err := c.secretMetadata(k).List(ctx, metav1.ListOptions{
		LabelSelector: labels.Set{"owner": "helm", "name": k.Release}.String(), ResourceVersion: version,
	})
	if err != nil {
		return nil, err
	}
	return metasOf(list.Items), nil
}

// metasOf converts the metadata of Secrets, newest revision first.
func metasOf(items []metav1.PartialObjectMetadata) []revisionMeta {
	metas := make([]revisionMeta, 0, len(items))
	for _, item := range items {
		number, err := strconv.Atoi(item.Labels["version"])
		if err != nil {
			continue // not written by Helm
		}
		metas = append(metas, revisionMeta{
			number: number, uid: string(item.UID), version: item.ResourceVersion, created: item.CreationTimestamp.Time,
			name: item.Name, status: rollback.Status(item.Labels["status"]), claim: item.Annotations[claimAnnotation],
		})
	}
	slices.SortFunc(metas, func(a, b revisionMeta) int { return cmp.Compare(b.number, a.number) })
	return metas
}

// isCurrent reports whether the revision is the newest one and unchanged; false if that
// cannot be read.
func (c *Client) isCurrent(ctx context.Context, k rollback.Key, newest revisionMeta) bool {
	own, next, err := c.readNewest(ctx, k, newest.number)
	return err == nil && !next && own != nil && string(own.UID) == newest.uid && own.ResourceVersion == newest.version
}

// secretMetadata is the metadata of the Secrets in the release's namespace.
func (c *Client) secretMetadata(k rollback.Key) metadata.ResourceInterface {
	return c.metadata.Resource(corev1.SchemeGroupVersion.WithResource("secrets")).Namespace(k.Namespace)
}

// cachedSecretMaxAge is how long a cachedSecret is used. A revision declares the same
// forever, unless an uninstall and an install arrive at the same number within this
// time.
const cachedSecretMaxAge = 2 * time.Second

// cachedSecret is the Secret that contained a revision at some time.
type cachedSecret struct {
	cacheKey string
	at       time.Time
}

// cacheSecrets remembers which Secrets contain the revisions.
func (c *Client) cacheSecrets(k rollback.Key, metas []revisionMeta) {
	now := time.Now()
	for _, m := range metas {
		c.cachedSecrets.Add(revisionKey(k, m.number), cachedSecret{m.cacheKey(), now})
	}
}

// cacheKey returns the key under which a revision is cached, from a recent cachedSecret,
// else from the metadata of its Secret.
func (c *Client) cacheKey(ctx context.Context, k rollback.Key, revision int) (string, error) {
	if s, ok := c.cachedSecrets.Get(revisionKey(k, revision)); ok && time.Since(s.(cachedSecret).at) < cachedSecretMaxAge {
		return s.(cachedSecret).cacheKey, nil
	}
	secret, err := c.secretMetadata(k).Get(ctx, secretName(k.Release, revision), metav1.GetOptions{})
	if err != nil {
		return "", err
	}
	return revisionMeta{uid: string(secret.UID), version: secret.ResourceVersion}.cacheKey(), nil
}

func revisionKey(k rollback.Key, revision int) string {
	return k.String() + "@" + strconv.Itoa(revision)
}

// secretName returns the name that Helm gives to a revision's Secret.
func secretName(release string, revision int) string {
	return fmt.Sprintf("sh.helm.release.v1.%s.v%d", release, revision)
}
