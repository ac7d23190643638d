package helm

import (
	"context"
	"fmt"
	"maps"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	typed "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/metadata"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/parallel"
)

// storageOf returns the storage that has the release's revisions. It returns
// rollback.ErrTwoStorages if more than one has some, and rollback.ErrUnknownRelease if none
// has. Where one alone is searched, it is that one, and needs no request; else Follow's watches
// know it, and without them, two lists.
func (c *Client) storageOf(ctx context.Context, k rollback.Key) (rollback.Storage, error) {
	if len(c.storages) == 1 {
		return c.storages[0], nil
	}
	metas, _ := c.followed.metas(k)
	if len(metas) == 0 {
		var err error
		if metas, err = c.listMetas(ctx, k, fromCache); err != nil {
			return "", fmt.Errorf("find the revisions of %s: %w", k, err)
		}
	}
	if len(metas) == 0 {
		return "", c.unknown(k)
	}
	return metas[0].storage, inOneStorage(k, metas)
}

// inOneStorage returns rollback.ErrTwoStorages unless one storage has all revisions.
func inOneStorage(k rollback.Key, metas []revisionMeta) error {
	for _, m := range metas {
		if m.storage != metas[0].storage {
			return fmt.Errorf("%s: %w, and backout does not choose: delete the revisions of one, or set BACKOUT_HELM_DRIVER to the other one", k, rollback.ErrTwoStorages)
		}
	}
	return nil
}

// unknown returns rollback.ErrUnknownRelease, with the storages that were searched and those
// that were not.
func (c *Client) unknown(k rollback.Key) error {
	var other string
	if len(c.storages) == 1 {
		other = map[rollback.Storage]string{
			rollback.Secrets:    "one in ConfigMaps needs BACKOUT_HELM_DRIVER=secret,configmap; ",
			rollback.ConfigMaps: "one in Secrets needs BACKOUT_HELM_DRIVER=secret,configmap; ",
		}[c.storages[0]]
	}
	return fmt.Errorf("%s: %w in the namespace's %s; %sone in SQL is not supported: install it with HELM_DRIVER=secret or configmap",
		k, rollback.ErrUnknownRelease, rollback.DescribeStorages(c.storages), other)
}

// listMetas lists the release's revisions in all storages, newest first.
func (c *Client) listMetas(ctx context.Context, k rollback.Key, version string) ([]revisionMeta, error) {
	if len(c.storages) == 1 {
		return c.listStorage(ctx, k, c.storages[0], version)
	}
	found := make([][]revisionMeta, len(c.storages))
	listing := parallel.NewGroup()
	for i, s := range c.storages {
		listing.Go(func() (err error) {
			found[i], err = c.listStorage(ctx, k, s, version)
			return err
		})
	}
	if err := listing.Wait(); err != nil {
		return nil, err
	}
	return sortMetas(found...), nil
}

// resourceOf is the resource of a storage's objects.
func resourceOf(s rollback.Storage) schema.GroupVersionResource {
	return corev1.SchemeGroupVersion.WithResource(strings.ToLower(s.Kind()) + "s")
}

// objects is the metadata of the objects of a storage in the namespace.
func (c *Client) objects(s rollback.Storage, namespace string) metadata.ResourceInterface {
	return c.metadata.Resource(resourceOf(s)).Namespace(namespace)
}

// revisions are the objects of a storage in the namespace, as Secrets.
func (c *Client) revisions(s rollback.Storage, namespace string) typed.SecretInterface {
	if s == rollback.ConfigMaps {
		return configMaps{objects: c.clientset.CoreV1().ConfigMaps(namespace)}
	}
	return c.clientset.CoreV1().Secrets(namespace)
}

// store reads the revisions that Helm has stored in the namespace.
func (c *Client) store(s rollback.Storage, namespace string) store {
	return store{storage: s, secrets: c.revisions(s, namespace), decoding: c.decoding}
}

// revisionsOf are the objects of the release's storage, as Secrets. It fails as storageOf does.
func (c *Client) revisionsOf(ctx context.Context, k rollback.Key) (typed.SecretInterface, error) {
	s, err := c.storageOf(ctx, k)
	if err != nil {
		return nil, err
	}
	return c.revisions(s, k.Namespace), nil
}

// configMaps are the ConfigMaps of one namespace, in the form of the Secrets that Helm would
// store: both have the same name, labels and data. It has no other methods than Get, List,
// Create and Update.
type configMaps struct {
	typed.SecretInterface

	objects typed.ConfigMapInterface
}

// Get reads a ConfigMap.
func (c configMaps) Get(ctx context.Context, name string, o metav1.GetOptions) (*corev1.Secret, error) {
	return asSecret(c.objects.Get(ctx, name, o))
}

// List reads ConfigMaps.
func (c configMaps) List(ctx context.Context, o metav1.ListOptions) (*corev1.SecretList, error) {
	found, err := c.objects.List(ctx, o)
	if err != nil {
		return nil, err
	}
	list := &corev1.SecretList{ListMeta: found.ListMeta, Items: make([]corev1.Secret, 0, len(found.Items))}
	for i := range found.Items {
		s, _ := asSecret(&found.Items[i], nil)
		list.Items = append(list.Items, *s)
	}
	return list, nil
}

// Create writes a new ConfigMap.
func (c configMaps) Create(ctx context.Context, s *corev1.Secret, o metav1.CreateOptions) (*corev1.Secret, error) {
	return asSecret(c.objects.Create(ctx, asConfigMap(s), o))
}

// Update replaces a ConfigMap.
func (c configMaps) Update(ctx context.Context, s *corev1.Secret, o metav1.UpdateOptions) (*corev1.Secret, error) {
	return asSecret(c.objects.Update(ctx, asConfigMap(s), o))
}

// asSecret returns the Secret with the same metadata and data, or the error.
func asSecret(m *corev1.ConfigMap, err error) (*corev1.Secret, error) {
	if err != nil {
		return nil, err
	}
	s := &corev1.Secret{ObjectMeta: m.ObjectMeta, Type: secretType, Data: maps.Clone(m.BinaryData)}
	if s.Data == nil {
		s.Data = make(map[string][]byte, len(m.Data))
	}
	for key, value := range m.Data {
		s.Data[key] = []byte(value)
	}
	return s, nil
}

// asConfigMap is the reverse of asSecret.
func asConfigMap(s *corev1.Secret) *corev1.ConfigMap {
	m := &corev1.ConfigMap{ObjectMeta: s.ObjectMeta, Data: make(map[string]string, len(s.Data))}
	for key, value := range s.Data {
		m.Data[key] = string(value)
	}
	return m
}
