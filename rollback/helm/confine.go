package helm

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"helm.sh/helm/v3/pkg/kube"
	"helm.sh/helm/v3/pkg/release"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/cli-runtime/pkg/resource"
	"k8s.io/client-go/rest"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/parallel"
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
// another release's. A client that may write Helm's objects in the namespace can declare any
// of them in its manifest; backout never writes one.
type confinement struct {
	// dangers are of kind rollback.DangerForeign: objects that the rollback would have to
	// write.
	dangers []rollback.Danger
	// left are the objects that Helm does not visit, by objectID: all of those, also the ones
	// that suspect and target declare alike, and the release's own that stay as they are.
	left map[string]bool
	// differences say what stays otherwise than the target declares.
	differences []string
	unfinished  unfinished
	unserved    unserved
}

// within returns the objects of the list that Helm visits.
func (c confinement) within(all kube.ResourceList) kube.ResourceList {
	return all.Filter(func(info *resource.Info) bool { return !c.left[objectID(info)] })
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
	// unfinished may have written other versions of the objects.
	unfinished unfinished
	// unserved are in neither.
	unserved unserved
}

// confine finds the objects of both sides that belong to others than the release, and those
// that Helm leaves alone because they stay the same. It reads the metadata of the live objects
// in the release's namespace, and nothing outside of it.
func (c *Client) confine(ctx context.Context, p rollback.Plan, s sides) (confinement, error) {
	found := &confining{
		confinement: confinement{left: make(map[string]bool), unfinished: s.unfinished, unserved: s.unserved},
		own:         leftOut{client: c, plan: p, sides: s, names: revisionNames{namesOf(s.from), namesOf(s.to)}},
	}
	if p.Newest.Number > p.Suspect.Number {
		found.own.suspect = identitiesOf(p.Key.Namespace, s.from)
	}
	group, ctx := parallel.WithContext(ctx)
	group.SetLimit(maxMetadataReads)
	visit := func(all kube.ResourceList, hook bool) {
		for _, info := range all {
			if why := outside(p.Key, info); why != "" {
				found.note(info, why, hook)
				continue
			}
			// A name such as ../../payments/secrets/db would lead a request elsewhere.
			if bad := rest.IsValidPathSegmentName(info.Name); len(bad) > 0 {
				found.refuse(info, fmt.Sprintf("no %s can have the name %q", info.Mapping.GroupVersionKind.Kind, rollback.Clip(info.Name, rollback.MaxName)))
				continue
			}
			group.Go(func() error { return found.checkLive(ctx, info, hook) })
		}
	}
	visit(s.target, false)
	visit(s.original.Difference(s.target), false)
	visit(s.hooks, true)
	err := group.Wait()
	return found.confinement, err
}

// confining is a confinement in the making.
type confining struct {
	own leftOut

	mu sync.Mutex
	confinement
}

// note leaves out an object that belongs to others; it is a danger if it has to be written.
func (c *confining) note(info *resource.Info, why string, hook bool) {
	what, needed := c.own.sides.write(info, hook, c.own.names)
	c.mu.Lock()
	defer c.mu.Unlock()
	id := objectID(info)
	c.left[id] = c.left[id] || !hook // Helm visits no hook
	if !needed {
		return
	}
	name := title(c.own.plan.Key, info.Mapping.GroupVersionKind.Kind, info.Namespace, info.Name)
	c.dangers = append(c.dangers, rollback.Danger{
		Kind: rollback.DangerForeign, What: fmt.Sprintf("the rollback would %s %s, which %s", what, name, why),
	})
}

// refuse leaves out an object that must not be written at all.
func (c *confining) refuse(info *resource.Info, what string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.left[objectID(info)] = true
	c.dangers = append(c.dangers, rollback.Danger{Kind: rollback.DangerForeign, What: what})
}

// checkLive finds out whose the live object is, and whether Helm leaves it alone.
func (c *confining) checkLive(ctx context.Context, info *resource.Info, hook bool) error {
	why, state, err := c.own.client.ofAnotherRelease(ctx, c.own.plan.Key, info)
	switch {
	case err != nil && !hook && ctx.Err() == nil && c.own.staysUnread(info, err):
		c.leave(info, title(c.own.plan.Key, info.Mapping.GroupVersionKind.Kind, info.Namespace, info.Name)+
			" could not be read; both revisions declare it the same, and it stays as it is: "+errorText(err))
		return nil
	case err != nil:
		return err
	case why != "":
		c.note(info, why, hook)
		return nil
	case hook:
		return nil
	}
	left, stays, err := c.own.check(ctx, info, state)
	if err != nil || !left {
		return err
	}
	c.leave(info, stays)
	return nil
}

// leave leaves out an object of the release's own, and notes what stays otherwise than the
// target declares, if anything.
func (c *confining) leave(info *resource.Info, stays string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.left[objectID(info)] = true
	if stays != "" {
		c.differences = append(c.differences, stays)
	}
}

// write says what the rollback would do with an object, and whether it has to do anything.
func (s sides) write(info *resource.Info, hook bool, names revisionNames) (what string, needed bool) {
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
		return "change", !names.alike(before, after)
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

// ofAnotherRelease says which other release the live object is marked for, and what backout
// can see of it; "" if there is no live object, or none that backout may read, or if it has no
// such mark: Helm's own objects from before Helm 3.2 have none.
func (c *Client) ofAnotherRelease(ctx context.Context, k rollback.Key, info *resource.Info) (string, liveState, error) {
	if info.Name == "" {
		return "", liveMissing, nil // the API server makes the name of a new object
	}
	live, err := c.metadata.Resource(info.Mapping.Resource).Namespace(info.Namespace).Get(ctx, info.Name, metav1.GetOptions{})
	if isUnserved(err) {
		return "", liveUnknown, fmt.Errorf("read whose object %s is: %w", info.ObjectName(), errStale)
	}
	state := stateOf(err)
	if state == liveMissing || state == liveForbidden {
		return "", state, nil
	}
	if err != nil {
		return "", state, fmt.Errorf("read whose object %s is: %w", info.ObjectName(), err)
	}
	name, namespace := live.Annotations[releaseNameAnnotation], live.Annotations[releaseNamespaceAnnotation]
	if name == "" || name == k.Release && (namespace == "" || namespace == k.Namespace) {
		return "", state, nil
	}
	return "belongs to release " + rollback.Clip(rollback.Printable(namespace+"/"+name), rollback.MaxName), state, nil
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
