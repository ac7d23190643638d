package helm

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sync/semaphore"
	"helm.sh/helm/v3/pkg/release"
	"helm.sh/helm/v3/pkg/storage/driver"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	typed "k8s.io/client-go/kubernetes/typed/core/v1"

	"github.com/upcommerce/backout/rollback"
)

// releaseKey is the key of the data that has the revision, in Secrets and ConfigMaps alike.
const releaseKey = "release"

// maxDecoding bounds the text, in bytes, that is decoded at a time, over all releases: a
// revision of the largest size is decoded alone. While it is decoded, a revision takes up
// to some times its size, and each node of its manifest up to two hundred bytes.
const maxDecoding = 8 << 20

// manifestWeight is how much more a byte of a manifest counts: two of them can be a node,
// which takes hundreds of bytes. A manifest of a megabyte is decoded alone.
const manifestWeight = 8

// decoding limits how much is decoded at a time. It is safe for concurrent use.
type decoding struct{ room *semaphore.Weighted }

func newDecoding() decoding { return decoding{semaphore.NewWeighted(maxDecoding)} }

// begin waits until there is room for a text of that size, and returns what ends its
// decoding. It returns an error if ctx ends before.
func (d decoding) begin(ctx context.Context, size int64) (end func(), err error) {
	size = min(size, maxDecoding)
	if err := d.room.Acquire(ctx, size); err != nil {
		return nil, fmt.Errorf("wait until other revisions are decoded: %w", err)
	}
	return func() { d.room.Release(size) }, nil
}

// reader reads a stored revision by the name of its object, and has the kind of the objects as
// its name. Helm's storage drivers are readers.
type reader interface {
	Name() string
	Get(name string) (*release.Release, error)
}

// store reads the revisions of one namespace within the bounds. It is safe for concurrent
// use.
type store struct {
	storage  rollback.Storage
	secrets  typed.SecretInterface
	decoding decoding
}

// Name returns the kind of the objects.
func (s store) Name() string { return s.storage.Kind() }

// Get reads and decodes one revision. It returns driver.ErrReleaseNotFound if there is no
// object of that name, and errCorrupt or errTooLarge for one that cannot be decoded. The
// result has no Labels.
func (s store) Get(name string) (*release.Release, error) {
	ctx := context.Background() // as Helm's drivers; the client's own limit ends the request
	secret, err := s.secrets.Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, driver.ErrReleaseNotFound
	}
	if err != nil {
		return nil, err
	}
	packed := secret.Data[releaseKey]
	size, err := checkPacked(packed)
	if err != nil {
		return nil, corrupt(err)
	}
	end, err := s.decoding.begin(ctx, size)
	if err != nil {
		return nil, err
	}
	defer end()
	stored, err := decodePacked(packed, size)
	if err != nil {
		return nil, corrupt(err)
	}
	return stored, nil
}

// corrupt returns an error that is errCorrupt and says why.
func corrupt(why error) error { return fmt.Errorf("%w: %w", errCorrupt, why) }

// read reads and decodes one stored revision. It returns errCorrupt, and errTooLarge if
// that is why, for one that cannot be decoded within the bounds or on which Helm would
// panic. Helm's own driver panics on a Secret that it cannot decode; read recovers.
func read(ctx context.Context, from reader, name string, d decoding) (stored *release.Release, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			stored, err = nil, fmt.Errorf("decode %s %s: %w: %v", from.Name(), name, errCorrupt, cause)
		}
	}()
	stored, err = from.Get(name)
	switch {
	case errors.Is(err, errCorrupt):
		return nil, fmt.Errorf("decode %s %s: %w", from.Name(), name, err)
	case err != nil:
		return nil, err
	case stored.Info == nil || stored.Chart == nil || stored.Chart.Metadata == nil:
		return nil, fmt.Errorf("decode %s %s: %w: it lacks the chart or the status", from.Name(), name, errCorrupt)
	}
	if err := checkManifests(ctx, stored, d); err != nil {
		return nil, fmt.Errorf("decode %s %s: %w", from.Name(), name, corrupt(err))
	}
	return stored, nil
}

// boundedSecrets returns the Secrets of revisions only if they are within the bounds, so
// that Helm's driver, which unpacks everything, can decode the very bytes that were
// checked.
type boundedSecrets struct{ typed.SecretInterface }

// Get reads a Secret. It returns errCorrupt for a revision that is not within the bounds.
func (b boundedSecrets) Get(ctx context.Context, name string, o metav1.GetOptions) (*corev1.Secret, error) {
	secret, err := b.SecretInterface.Get(ctx, name, o)
	if err != nil {
		return nil, err
	}
	if _, err := checkPacked(secret.Data[releaseKey]); err != nil {
		return nil, corrupt(err)
	}
	return secret, nil
}

// List reads Secrets. Those that are not within the bounds have no data: Helm's driver
// leaves them out.
func (b boundedSecrets) List(ctx context.Context, o metav1.ListOptions) (*corev1.SecretList, error) {
	list, err := b.SecretInterface.List(ctx, o)
	if err != nil {
		return nil, err
	}
	for i := range list.Items {
		if _, err := checkPacked(list.Items[i].Data[releaseKey]); err != nil {
			list.Items[i].Data = nil
		}
	}
	return list, nil
}
