package helm

import (
	"context"
	"fmt"
	"reflect"
	"sync"

	"helm.sh/helm/v3/pkg/kube"
	"helm.sh/helm/v3/pkg/release"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/cli-runtime/pkg/resource"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/parallel"
)

// maxDryRunRequests is how many objects are dry-run at a time.
const maxDryRunRequests = 8

// dryRun sends every write of a planned rollback to the API server as a dry run, and
// notes the refusals.
type dryRun struct {
	client *Client
	plan   rollback.Plan
	// suspect and target are what the two revisions declare; suspectObjects and
	// targetObjects are the same, built.
	suspect, target               rollback.Manifest
	suspectObjects, targetObjects kube.ResourceList
	// hooks are those that the rollback runs, built.
	hooks kube.ResourceList
	// suspectRevision and targetRevision are set if their objects are built.
	suspectRevision, targetRevision *release.Release
	unfinished                      unfinished
	// unserved are built in neither; nil as long as everything can be built.
	unserved unserved
	// needsUnserved says that the rollback needs an object of a kind that is not served.
	needsUnserved bool
	// stable are the identities of the stable track's workloads.
	stable map[string]bool

	// end ends the turn of a large one.
	end func()

	mu      sync.Mutex
	dangers []rollback.Danger
	// differences are those of rollback.PreflightResult, unread the parts of its note.
	differences, unread []string
	// live are the live objects of both revisions, by identity.
	live map[string]rollback.Object
	// notBuildable says that a manifest cannot be built.
	notBuildable bool
}

func (t *dryRun) addDangers(dangers ...rollback.Danger) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.dangers = append(t.dangers, dangers...)
}

func (t *dryRun) addUnbuildable(what string) {
	t.mu.Lock()
	t.notBuildable = true
	t.mu.Unlock()
	t.addDangers(rollback.Danger{Kind: rollback.DangerUnbuildable, What: what})
}

func (t *dryRun) buildable() bool { return !t.notBuildable }

// run dry-runs every write, prepared as the rollback prepares it, some at a time.
func (t *dryRun) run(ctx context.Context) error {
	confined, err := t.client.confine(ctx, t.plan, sides{
		original: t.suspectObjects, target: t.targetObjects, hooks: t.hooks, from: t.suspectRevision, to: t.targetRevision,
		unfinished: t.unfinished, unserved: t.unserved,
	})
	if err != nil {
		return err
	}
	t.addDangers(confined.dangers...)
	t.differences = append(t.differences, confined.differences...)
	t.stable = stableIDs(t.client.track, t.plan.Key, t.suspect)
	all := t.targetObjects
	t.suspectObjects, t.targetObjects = confined.within(t.suspectObjects), confined.within(t.targetObjects)
	prepared := holdingClient{
		Client: t.client.kube(ctx, t.plan.Key.Namespace, new(overloads)), ctx: ctx, hold: t.plan.Hold,
		scalers: t.client.scalerLister(func(err error) { t.unread = append(t.unread, errorText(err)) }),
	}
	if err := prepared.prepare(t.suspectObjects, t.targetObjects); err != nil {
		kind, refused := refusalKind(err)
		switch {
		case !refused:
			return err
		case kind != rollback.DangerForbidden: // the dry run finds it again, and says what to add
			t.addUnbuildable(errorText(err))
			return nil
		}
	}
	group, ctx := parallel.WithContext(ctx)
	group.SetLimit(maxDryRunRequests)
	for _, info := range t.targetObjects {
		group.Go(func() error { return t.update(ctx, info) })
	}
	for _, info := range t.suspectObjects.Difference(t.targetObjects) {
		group.Go(func() error { return t.delete(ctx, info) })
	}
	for _, info := range all.Difference(t.targetObjects) {
		if outside(t.plan.Key, info) == "" {
			group.Go(func() error { t.lookAt(ctx, info); return nil })
		}
	}
	return group.Wait()
}

// lookAt reads an object that Helm leaves alone, because it may name an owner. Its replicas
// count, too, and nothing else depends on it.
func (t *dryRun) lookAt(ctx context.Context, info *resource.Info) {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	_, _ = t.readLive(ctx, info)
}

// update dry-runs the request by which Helm would turn the live object into the
// target's.
func (t *dryRun) update(ctx context.Context, info *resource.Info) error {
	target, ok := info.Object.(*unstructured.Unstructured)
	if !ok {
		return fmt.Errorf("%s is not an unstructured object", info.ObjectName())
	}
	setHelmMetadata(target, t.plan.Key)
	live, err := t.readLive(ctx, info)
	if err != nil {
		return t.noteRefusal(info, err, "get", "patch")
	}
	dry := []string{metav1.DryRunAll}
	if live == nil {
		t.addDangers(jobDangers(t.title(info), target)...)
		if isSecret(info) {
			t.addDangers(secretDanger(t.title(info), "would be created again with an old value"))
		}
		_, err := t.client.liveObjects(info).Create(ctx, target, metav1.CreateOptions{DryRun: dry, FieldManager: fieldManager})
		return t.noteRefusal(info, err, "get", "create")
	}
	t.addDangers(resumedDangers(t.title(info), target, live)...)
	c, err := changeOf(info, t.original(info, live), live, t.unfinished.declared(t.plan.Key.Namespace, target.Object))
	if err != nil {
		t.addUnbuildable(fmt.Sprintf("%s: Helm cannot compute the patch: %s", t.title(info), errorText(err)))
		return nil
	}
	if c.none() {
		t.compare(ctx, info, live, live)
		return nil
	}
	updated, err := t.client.liveObjects(info).Patch(ctx, info.Name, c.kind, c.patch, metav1.PatchOptions{DryRun: dry, FieldManager: fieldManager})
	if err == nil && isSecret(info) && !reflect.DeepEqual(secretData(live), secretData(updated)) {
		t.addDangers(secretDanger(t.title(info), oldValue))
	}
	// The live pods may be those of a failed upgrade or of an operator, whatever both revisions
	// declare.
	if err == nil && t.stable[identity(t.plan.Key.Namespace, live.Object)] && !samePods(live, updated) {
		t.addDangers(replacedPods(t.title(info)))
	}
	if err == nil {
		t.compare(ctx, info, live, updated)
	}
	return t.noteRefusal(info, err, "get", "patch")
}

// compare notes in which fields the outcome of the dry run differs from the target, or why
// that is not known.
func (t *dryRun) compare(ctx context.Context, info *resource.Info, live, outcome *unstructured.Unstructured) {
	wanted, ok := info.Object.(*unstructured.Unstructured)
	if !ok {
		return
	}
	bases := basesOf(wanted.Object, t.original(info, live), t.unfinished.declared(t.plan.Key.Namespace, wanted.Object))
	paths, err := t.client.differingFields(ctx, comparison{info, live, outcome, bases})
	switch {
	case err != nil && isSecret(info):
		t.note(fmt.Sprintf("%s could not be compared with revision %d: %s", t.title(info), t.plan.Target, apierrors.ReasonForError(err)))
	case err != nil:
		t.note(fmt.Sprintf("%s could not be compared with revision %d: %s", t.title(info), t.plan.Target, errorText(err)))
	case len(paths) > 0:
		t.note(differenceText(t.title(info), t.plan.Target, paths))
	}
}

// delete dry-runs the deletion of an object that the target does not declare.
func (t *dryRun) delete(ctx context.Context, info *resource.Info) error {
	live, err := t.readLive(ctx, info)
	if err != nil {
		return t.noteRefusal(info, err, "get", "delete")
	}
	if live == nil || isKept(live) {
		return nil
	}
	t.addDangers(deletionDangers(t.title(info), live)...)
	// The options go into the query, where the fence sees them: with a body, the API
	// server would read them from there.
	err = info.Client.Delete().NamespaceIfScoped(info.Namespace, info.Namespaced()).Resource(info.Mapping.Resource.Resource).
		Name(info.Name).Param("dryRun", metav1.DryRunAll).Do(ctx).Error()
	if apierrors.IsNotFound(err) {
		return nil
	}
	return t.noteRefusal(info, err, "get", "delete")
}

// readLive returns the live object; nil if it does not exist.
func (t *dryRun) readLive(ctx context.Context, info *resource.Info) (*unstructured.Unstructured, error) {
	live, err := t.client.liveObjects(info).Get(ctx, info.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil //nolint:nilnil // No object is a valid answer.
	}
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.live[identity(t.plan.Key.Namespace, live.Object)] = live.Object
	return live, nil
}

// original returns the object that Helm compares the target's with: the suspect
// revision's. Where that declares none, it is the live object, or, after an interrupted
// attempt, which may have created it, the target's own.
func (t *dryRun) original(info *resource.Info, live *unstructured.Unstructured) runtime.Object {
	if declared := t.suspectObjects.Get(info); declared != nil {
		return declared.Object
	}
	if t.plan.Newest.Number > t.plan.Suspect.Number {
		return info.Object
	}
	return live
}

func (t *dryRun) title(info *resource.Info) string {
	return title(t.plan.Key, info.Mapping.GroupVersionKind.Kind, info.Namespace, info.Name)
}

func isSecret(info *resource.Info) bool {
	gvk := info.Mapping.GroupVersionKind
	return gvk.Group == "" && gvk.Kind == "Secret"
}
