package helm

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
	"helm.sh/helm/v3/pkg/kube"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/cli-runtime/pkg/resource"
	"k8s.io/client-go/dynamic"

	"github.com/upcommerce/backout/rollback"
)

// parallelTrials is how many objects are tried out at a time.
const parallelTrials = 8

// trial has the API server try out every write of a planned rollback, and notes
// what it refuses.
type trial struct {
	client *Client
	plan   rollback.Plan
	// was and will are what the accused and the target revision declare, original
	// and target the same, built.
	was, will        rollback.Manifest
	original, target kube.ResourceList

	mu      sync.Mutex
	dangers []rollback.Danger
	// live are the live objects of both revisions, by identity.
	live map[string]rollback.Object
	// failed says that a manifest cannot be built.
	failed bool
}

func (t *trial) add(dangers ...rollback.Danger) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.dangers = append(t.dangers, dangers...)
}

func (t *trial) unbuildable(what string) {
	t.mu.Lock()
	t.failed = true
	t.mu.Unlock()
	t.add(rollback.Danger{Kind: rollback.DangerUnbuildable, What: what})
}

func (t *trial) buildable() bool { return !t.failed }

// run tries out every write, as the rollback prepares it, a few at a time.
func (t *trial) run(ctx context.Context) error {
	prepared := holding{Client: t.client.kube(ctx, t.plan.Key.Namespace), ctx: ctx, hold: t.plan.Hold, scalers: t.client.scalers}
	if err := prepared.prepare(t.original, t.target); err != nil {
		if _, refused := refusal(err); !refused {
			return err
		}
		t.unbuildable(words(err))
		return nil
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallelTrials)
	for _, info := range t.target {
		group.Go(func() error { return t.write(ctx, info) })
	}
	for _, info := range t.original.Difference(t.target) {
		group.Go(func() error { return t.remove(ctx, info) })
	}
	return group.Wait()
}

// write tries out what Helm would do to make the live object the target's.
func (t *trial) write(ctx context.Context, info *resource.Info) error {
	will, ok := info.Object.(*unstructured.Unstructured)
	if !ok {
		return fmt.Errorf("%s is not an unstructured object", info.ObjectName())
	}
	mark(will, t.plan.Key)
	live, err := t.look(ctx, info)
	if err != nil {
		return t.judge(info, err)
	}
	dry := []string{metav1.DryRunAll}
	if live == nil {
		if secret(info) {
			t.add(secretDanger(t.title(info), "would be made anew with an old value"))
		}
		_, err := t.objects(info).Create(ctx, will, metav1.CreateOptions{DryRun: dry, FieldManager: fieldManager})
		return t.judge(info, err)
	}
	patch, kind, err := change(info, t.before(info, live), live)
	if err != nil {
		t.unbuildable(fmt.Sprintf("%s: the change cannot be made: %s", t.title(info), words(err)))
		return nil
	}
	if string(patch) == "{}" {
		return nil
	}
	would, err := t.objects(info).Patch(ctx, info.Name, kind, patch, metav1.PatchOptions{DryRun: dry, FieldManager: fieldManager})
	if err == nil && secret(info) && !reflect.DeepEqual(secretData(live), secretData(would)) {
		t.add(secretDanger(t.title(info), oldValue))
	}
	return t.judge(info, err)
}

// remove tries out the deletion of an object that the target has not.
func (t *trial) remove(ctx context.Context, info *resource.Info) error {
	live, err := t.look(ctx, info)
	if err != nil {
		return t.judge(info, err)
	}
	if live == nil || kept(live) {
		return nil
	}
	t.add(deletionDangers(t.title(info), live)...)
	// The options go into the query, where the fence sees them: with a body, the API
	// server would read them from there.
	err = info.Client.Delete().NamespaceIfScoped(info.Namespace, info.Namespaced()).Resource(info.Mapping.Resource.Resource).
		Name(info.Name).Param("dryRun", metav1.DryRunAll).Do(ctx).Error()
	if apierrors.IsNotFound(err) {
		return nil
	}
	return t.judge(info, err)
}

// look reads the live object; nil if there is none.
func (t *trial) look(ctx context.Context, info *resource.Info) (*unstructured.Unstructured, error) {
	live, err := t.objects(info).Get(ctx, info.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil //nolint:nilnil // None is an answer.
	}
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.live[identity(t.plan.Key.Namespace, live.Object)] = live.Object
	return live, nil
}

// judge notes a refusal; any other error it returns.
func (t *trial) judge(info *resource.Info, err error) error {
	if err == nil {
		return nil
	}
	kind, refused := refusal(err)
	if !refused {
		return err
	}
	if apierrors.IsNotFound(err) && t.makesNamespace(info.Namespace) {
		return nil // it will be there, once Helm has made it
	}
	if strings.Contains(err.Error(), "does not support dry run") {
		return nil // a webhook that cannot be asked without being meant
	}
	said := words(err)
	if secret(info) {
		said = string(apierrors.ReasonForError(err)) // the words could quote what is in it
	}
	t.add(rollback.Danger{Kind: kind, What: t.title(info) + ": the API server refuses the change: " + said})
	return nil
}

// makesNamespace reports whether the target declares the namespace.
func (t *trial) makesNamespace(name string) bool {
	for _, info := range t.target {
		if info.Mapping.GroupVersionKind.Kind == "Namespace" && info.Name == name {
			return true
		}
	}
	return false
}

// before returns what Helm compares the target with: what the accused revision
// declares. Where it declares nothing, that is the live object; after an
// interrupted attempt, which may have made it, what the target declares.
func (t *trial) before(info *resource.Info, live *unstructured.Unstructured) runtime.Object {
	if was := t.original.Get(info); was != nil {
		return was.Object
	}
	if t.plan.Newest.Number > t.plan.Accused.Number {
		return info.Object
	}
	return live
}

func (t *trial) objects(info *resource.Info) dynamic.ResourceInterface {
	all := t.client.dynamic.Resource(info.Mapping.Resource)
	if info.Namespaced() {
		return all.Namespace(info.Namespace)
	}
	return all
}

func (t *trial) title(info *resource.Info) string {
	return title(t.plan.Key, info.Mapping.GroupVersionKind.Kind, info.Namespace, info.Name)
}

func secret(info *resource.Info) bool {
	gvk := info.Mapping.GroupVersionKind
	return gvk.Group == "" && gvk.Kind == "Secret"
}
