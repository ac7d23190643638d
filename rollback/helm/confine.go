package helm

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
	"helm.sh/helm/v3/pkg/kube"
	"helm.sh/helm/v3/pkg/release"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/cli-runtime/pkg/resource"
	"k8s.io/client-go/rest"

	"github.com/upcommerce/backout/rollback"
)

// maxMetadataReads is how many live objects are read at a time before a rollback.
const maxMetadataReads = 8

// The annotations by which Helm marks the objects of a release.
const (
	releaseNameAnnotation      = "meta.helm.sh/release-name"
	releaseNamespaceAnnotation = "meta.helm.sh/release-namespace"
)

// confinement says which objects of a rollback belong to others than the release: those
// outside its namespace, those that are cluster-scoped, and live ones that are marked as
// another release's. Who may write Secrets in the namespace of a release can declare any
// of them in its manifest; backout never writes one.
type confinement struct {
	// dangers are of kind rollback.DangerForeign: objects that the rollback would have to
	// write.
	dangers []rollback.Danger
	// foreign are all of them by objectID, also those that suspect and target declare alike,
	// so that nothing has to be written.
	foreign map[string]bool
}

// within returns the objects of the list that are the release's own.
func (c confinement) within(all kube.ResourceList) kube.ResourceList {
	return all.Filter(func(info *resource.Info) bool { return !c.foreign[objectID(info)] })
}

// err is an error if the rollback would write what belongs to others.
func (c confinement) err() error {
	if len(c.dangers) == 0 {
		return nil
	}
	texts := make([]string, 0, maxDangers)
	for _, d := range limitDangers(slices.Clone(c.dangers)) {
		texts = append(texts, d.What)
	}
	return fmt.Errorf("nothing was written: %s", strings.Join(texts, "; "))
}

// sides are what a rollback compares and writes, built.
type sides struct {
	original, target kube.ResourceList
	// hooks run during the rollback.
	hooks kube.ResourceList
	// from and to are the revisions that declare original and target.
	from, to *release.Release
}

// confine finds the objects of both sides that belong to others than the release. It reads
// the metadata of the live objects in the release's namespace, and nothing outside of it.
func (c *Client) confine(ctx context.Context, k rollback.Key, s sides) (confinement, error) {
	found := confinement{foreign: make(map[string]bool)}
	var mu sync.Mutex
	note := func(info *resource.Info, why string, hook bool) {
		mu.Lock()
		defer mu.Unlock()
		if !hook {
			found.foreign[objectID(info)] = true
		}
		what, needed := s.write(info, hook)
		if !needed {
			return
		}
		name := title(k, info.Mapping.GroupVersionKind.Kind, info.Namespace, info.Name)
		found.dangers = append(found.dangers, rollback.Danger{
			Kind: rollback.DangerForeign, What: fmt.Sprintf("the rollback would %s %s, which %s", what, name, why),
		})
	}
	refuse := func(info *resource.Info, what string) {
		mu.Lock()
		defer mu.Unlock()
		found.foreign[objectID(info)] = true
		found.dangers = append(found.dangers, rollback.Danger{Kind: rollback.DangerForeign, What: what})
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(maxMetadataReads)
	visit := func(all kube.ResourceList, hook bool) {
		for _, info := range all {
			if why := outside(k, info); why != "" {
				note(info, why, hook)
				continue
			}
			// A name such as ../../payments/secrets/db would lead a request elsewhere.
			if bad := rest.IsValidPathSegmentName(info.Name); len(bad) > 0 {
				refuse(info, fmt.Sprintf("no %s can have the name %q", info.Mapping.GroupVersionKind.Kind, rollback.Clip(info.Name, rollback.MaxName)))
				continue
			}
			group.Go(func() error {
				why, err := c.ofAnotherRelease(ctx, k, info)
				if why != "" {
					note(info, why, hook)
				}
				return err
			})
		}
	}
	visit(s.target, false)
	visit(s.original.Difference(s.target), false)
	visit(s.hooks, true)
	return found, group.Wait()
}

// write says what the rollback would do with an object, and whether it has to do anything.
func (s sides) write(info *resource.Info, hook bool) (what string, needed bool) {
	before, after := s.original.Get(info), s.target.Get(info)
	switch {
	case hook:
		return "run the hook", true
	case after == nil:
		// Helm keeps the object if the live one says so, too; here it is not even read.
		return "delete", !keptAsDeclared(before)
	case before == nil:
		return "create", true
	default:
		return "change", !s.alike(before, after)
	}
}

// outside says why an object cannot be the release's; "" if it can.
func outside(k rollback.Key, info *resource.Info) string {
	switch {
	case !info.Namespaced():
		return "belongs to the whole cluster"
	case info.Namespace != k.Namespace:
		return "is outside of namespace " + k.Namespace
	default:
		return ""
	}
}

// ofAnotherRelease says which other release the live object is marked for; "" if there is
// no live object, or none that backout may read, or if it has no such mark: Helm's own
// objects from before Helm 3.2 have none.
func (c *Client) ofAnotherRelease(ctx context.Context, k rollback.Key, info *resource.Info) (string, error) {
	if info.Name == "" {
		return "", nil // the API server makes the name of a new object
	}
	live, err := c.metadata.Resource(info.Mapping.Resource).Namespace(info.Namespace).Get(ctx, info.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) || apierrors.IsForbidden(err) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read whose object %s is: %w", info.ObjectName(), err)
	}
	name, namespace := live.Annotations[releaseNameAnnotation], live.Annotations[releaseNamespaceAnnotation]
	if name == "" || name == k.Release && (namespace == "" || namespace == k.Namespace) {
		return "", nil
	}
	return "belongs to release " + rollback.Clip(rollback.Printable(namespace+"/"+name), rollback.MaxName), nil
}

// keptAsDeclared reports whether the declared object says that Helm keeps it.
func keptAsDeclared(info *resource.Info) bool {
	o, ok := info.Object.(*unstructured.Unstructured)
	return ok && isKept(o)
}

// objectID identifies a built object, whatever the version of its API.
func objectID(info *resource.Info) string {
	return info.Mapping.GroupVersionKind.GroupKind().String() + "/" + info.Namespace + "/" + info.Name
}

// rollbackHooks builds the hooks of a revision that a rollback to it runs. Their logs are
// not read: Helm would look for them in a namespace that the hook itself names.
func (c *Client) rollbackHooks(objects *kube.Client, target *release.Release) (kube.ResourceList, error) {
	var all kube.ResourceList
	for _, h := range target.Hooks {
		if !slices.Contains(h.Events, release.HookPreRollback) && !slices.Contains(h.Events, release.HookPostRollback) {
			continue
		}
		h.OutputLogPolicies = nil
		built, err := c.build(objects, h.Manifest)
		if err != nil {
			return nil, fmt.Errorf("build the hook %s: %w", h.Name, err)
		}
		all = append(all, built...)
	}
	return all, nil
}
