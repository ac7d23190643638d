package helm

import (
	"context"
	"fmt"
	"maps"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	typed "k8s.io/client-go/kubernetes/typed/core/v1"

	"github.com/upcommerce/backout/rollback"
)

// claimAnnotation marks the objects of revisions that Helm wrote for backout. Its value
// is the UID of the suspect revision. It is not a label of the release, because the next
// helm upgrade would inherit that.
const claimAnnotation = "backout.dev/claim"

// claimingSecrets are Helm's objects of one namespace, as Secrets, as its storage driver uses them
// during one rollback, within the bounds. Create adds the claim. Update keeps the annotations, and writes
// only if the Secret is as this rollback last read or wrote it; Helm alone would
// overwrite it.
type claimingSecrets struct {
	typed.SecretInterface
	claim string

	mu       sync.Mutex
	lastSeen map[string]metav1.ObjectMeta // by name; annotations and resourceVersion
}

func newClaimingSecrets(secrets typed.SecretInterface, claim string) *claimingSecrets {
	return &claimingSecrets{SecretInterface: boundedSecrets{secrets}, claim: claim, lastSeen: make(map[string]metav1.ObjectMeta)}
}

func (c *claimingSecrets) remember(s *corev1.Secret) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lastSeen[s.Name] = metav1.ObjectMeta{Annotations: s.Annotations, ResourceVersion: s.ResourceVersion}
}

// Get reads a Secret and remembers its version.
func (c *claimingSecrets) Get(ctx context.Context, name string, o metav1.GetOptions) (*corev1.Secret, error) {
	s, err := c.SecretInterface.Get(ctx, name, o)
	if err == nil {
		c.remember(s)
	}
	return s, err
}

// List reads Secrets and remembers their versions.
func (c *claimingSecrets) List(ctx context.Context, o metav1.ListOptions) (*corev1.SecretList, error) {
	list, err := c.SecretInterface.List(ctx, o)
	if err != nil {
		return nil, err
	}
	for i := range list.Items {
		c.remember(&list.Items[i])
	}
	return list, nil
}

// Create writes a new Secret that carries the claim.
func (c *claimingSecrets) Create(ctx context.Context, s *corev1.Secret, o metav1.CreateOptions) (*corev1.Secret, error) {
	s = s.DeepCopy()
	metav1.SetMetaDataAnnotation(&s.ObjectMeta, claimAnnotation, c.claim)
	created, err := c.SecretInterface.Create(ctx, s, o)
	if err == nil {
		c.remember(created)
	}
	return created, err
}

// Update replaces a Secret. It returns rollback.ErrRevisionChanged if another client
// wrote the Secret since this rollback last read or wrote it, or if it never did.
func (c *claimingSecrets) Update(ctx context.Context, s *corev1.Secret, o metav1.UpdateOptions) (*corev1.Secret, error) {
	c.mu.Lock()
	last, known := c.lastSeen[s.Name]
	c.mu.Unlock()
	if !known {
		return nil, fmt.Errorf("write %s, which was not read before: %w", s.Name, rollback.ErrRevisionChanged)
	}
	s = s.DeepCopy()
	s.ResourceVersion = last.ResourceVersion
	s.Annotations = maps.Clone(last.Annotations)
	written, err := c.SecretInterface.Update(ctx, s, o)
	if apierrors.IsConflict(err) {
		return nil, fmt.Errorf("write %s, which another client wrote meanwhile: %w", s.Name, rollback.ErrRevisionChanged)
	}
	if err == nil {
		c.remember(written)
	}
	return written, err
}
