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

// claimAnnotation marks the Secrets of revisions that Helm wrote for backout. Its
// value is the UID of the accused revision. It is no label of the release: the
// next helm upgrade would inherit that.
const claimAnnotation = "backout.dev/claim"

// claimed are the Secrets of one namespace as Helm's storage driver sees them
// during one rollback. What it creates carries the claim. What it updates keeps
// its annotations, and must be as this rollback last read or wrote it: Helm
// itself replaces whatever is there.
type claimed struct {
	typed.SecretInterface
	claim string

	mu   sync.Mutex
	seen map[string]metav1.ObjectMeta // by name; annotations and resourceVersion
}

func newClaimed(secrets typed.SecretInterface, claim string) *claimed {
	return &claimed{SecretInterface: secrets, claim: claim, seen: make(map[string]metav1.ObjectMeta)}
}

func (c *claimed) note(s *corev1.Secret) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen[s.Name] = metav1.ObjectMeta{Annotations: s.Annotations, ResourceVersion: s.ResourceVersion}
}

// Get reads a Secret and notes its version.
func (c *claimed) Get(ctx context.Context, name string, o metav1.GetOptions) (*corev1.Secret, error) {
	s, err := c.SecretInterface.Get(ctx, name, o)
	if err == nil {
		c.note(s)
	}
	return s, err
}

// List reads Secrets and notes their versions.
func (c *claimed) List(ctx context.Context, o metav1.ListOptions) (*corev1.SecretList, error) {
	list, err := c.SecretInterface.List(ctx, o)
	if err != nil {
		return nil, err
	}
	for i := range list.Items {
		c.note(&list.Items[i])
	}
	return list, nil
}

// Create writes a new Secret that carries the claim.
func (c *claimed) Create(ctx context.Context, s *corev1.Secret, o metav1.CreateOptions) (*corev1.Secret, error) {
	s = s.DeepCopy()
	metav1.SetMetaDataAnnotation(&s.ObjectMeta, claimAnnotation, c.claim)
	made, err := c.SecretInterface.Create(ctx, s, o)
	if err == nil {
		c.note(made)
	}
	return made, err
}

// Update replaces a Secret. It returns rollback.ErrMoved if somebody else wrote
// it since it was last read or written here, or if it never was.
func (c *claimed) Update(ctx context.Context, s *corev1.Secret, o metav1.UpdateOptions) (*corev1.Secret, error) {
	c.mu.Lock()
	last, known := c.seen[s.Name]
	c.mu.Unlock()
	if !known {
		return nil, fmt.Errorf("write Secret %s, which was not read before: %w", s.Name, rollback.ErrMoved)
	}
	s = s.DeepCopy()
	s.ResourceVersion = last.ResourceVersion
	s.Annotations = maps.Clone(last.Annotations)
	written, err := c.SecretInterface.Update(ctx, s, o)
	if apierrors.IsConflict(err) {
		return nil, fmt.Errorf("write Secret %s, which somebody else wrote meanwhile: %w", s.Name, rollback.ErrMoved)
	}
	if err == nil {
		c.note(written)
	}
	return written, err
}
