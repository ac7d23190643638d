package helm

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/cli-runtime/pkg/resource"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/parallel"
)

// maxPaths bounds the fields that a difference names.
const maxPaths = 5

// comparison is an object before and after a rollback, or after its dry run.
type comparison struct {
	target *resource.Info
	// live is the stored object, outcome the one that is compared with the target: the same,
	// or that of a dry run.
	live, outcome *unstructured.Unstructured
	bases         []rollback.Object
}

// differingFields returns the fields in which the outcome differs from what the target
// declares. Defaults and the changes of admission webhooks are no difference: the API server
// is asked, as a dry run, what it makes of the object as declared.
func (c *Client) differingFields(ctx context.Context, x comparison) ([]string, error) {
	wanted, ok := x.target.Object.(*unstructured.Unstructured)
	if !ok {
		return nil, nil
	}
	lists, known := listKindsOf(x.target)
	imposed := merge{mergeImpose, known}.top(lists, wanted.Object, x.outcome.Object, x.bases)
	if equalValues(imposed, x.outcome.Object) {
		return nil, nil
	}
	before, err := json.Marshal(x.live)
	if err != nil {
		return nil, err
	}
	after, err := json.Marshal(imposed)
	if err != nil {
		return nil, err
	}
	patch, err := jsonpatch.CreateMergePatch(before, after)
	if err != nil {
		return nil, err
	}
	answer, err := c.liveObjects(x.target).Patch(ctx, x.target.Name, types.MergePatchType, patch,
		metav1.PatchOptions{DryRun: []string{metav1.DryRunAll}, FieldManager: fieldManager})
	if _, refused := refusalKind(err); refused {
		answer, err = &unstructured.Unstructured{Object: imposed}, nil
	}
	if err != nil {
		return nil, err
	}
	return differingPaths("", declaredPart(x.outcome.Object), declaredPart(answer.Object)), nil
}

// differingPaths returns the paths at which two values differ.
func differingPaths(path string, a, b any) []string {
	if equalValues(a, b) {
		return nil
	}
	x, ok := a.(map[string]any)
	y, okToo := b.(map[string]any)
	if ok && okToo {
		var found []string
		for _, field := range slices.Sorted(maps.Keys(union(x, y))) {
			found = append(found, differingPaths(strings.TrimPrefix(path+"."+field, "."), x[field], y[field])...)
		}
		return found
	}
	from, ok := a.([]any)
	to, okToo := b.([]any)
	if !ok && a != nil || !okToo && b != nil || !ok && !okToo {
		return []string{path}
	}
	before, named := entryNames(from)
	after, namedToo := entryNames(to)
	if !named || !namedToo {
		return []string{path}
	}
	var found []string
	for _, name := range slices.Sorted(maps.Keys(union(before, after))) {
		found = append(found, differingPaths(path+"["+name+"]", before[name], after[name])...)
	}
	if len(found) == 0 {
		return []string{path} // another order
	}
	return found
}

func union(a, b map[string]any) map[string]any {
	all := maps.Clone(a)
	if all == nil {
		all = make(map[string]any)
	}
	maps.Copy(all, b)
	return all
}

// entryNames returns the entries of a list by their names; false if an entry has none, or
// two have the same.
func entryNames(list []any) (map[string]any, bool) {
	found := make(map[string]any, len(list))
	for _, entry := range list {
		o, _ := entry.(map[string]any)
		name, _ := o["name"].(string)
		if name == "" || found[name] != nil {
			return nil, false
		}
		found[name] = entry
	}
	return found, true
}

// differenceText says that an object differs from what a revision declares. It quotes no
// values: a Secret has some.
func differenceText(name string, revision int, paths []string) string {
	shown := paths[:min(len(paths), maxPaths)]
	text := fmt.Sprintf("%s differs from revision %d in %s", name, revision, strings.Join(shown, ", "))
	if more := len(paths) - len(shown); more > 0 {
		text += fmt.Sprintf(" and %d more fields", more)
	}
	return rollback.Clip(rollback.Printable(text), rollback.MaxSummary)
}

// Differences says, a sentence each, how the live objects differ from what the target of a
// rollback declares, after the rollback. Weights that the plan holds, numbers of replicas,
// and defaults are no differences. It changes nothing. It returns an error if the API server
// does not answer, or if a revision cannot be read.
func (c *Client) Differences(ctx context.Context, p rollback.Plan) ([]string, error) {
	t, err := c.newDryRun(ctx, p)
	if err != nil {
		return nil, err
	}
	defer t.end()
	if !t.buildable() {
		return nil, fmt.Errorf("compare with revision %d: %s", p.Target, t.dangers[0].What)
	}
	if t.unfinished, err = c.unfinishedOf(ctx, p); err != nil {
		return nil, err
	}
	names := revisionNames{namesOf(t.suspectRevision), namesOf(t.targetRevision)}
	group, ctx := parallel.WithContext(ctx)
	group.SetLimit(maxDryRunRequests)
	for _, info := range t.targetObjects {
		if outside(p.Key, info) == "" {
			group.Go(func() error { return t.compareLive(ctx, info, names) })
		}
	}
	err = group.Wait()
	slices.Sort(t.differences)
	return t.differences, err
}

// compareLive notes how a live object differs from the target's.
func (t *dryRun) compareLive(ctx context.Context, info *resource.Info, names revisionNames) error {
	before, target := t.suspectObjects.Get(info), info.Object.(*unstructured.Unstructured)
	alike := before != nil && names.alikeButWeights(before, info, t.plan.Hold)
	live, err := t.readLive(ctx, info)
	switch {
	case isForbidden(err) && alike:
		if stays := (leftOut{plan: t.plan, sides: sides{to: t.targetRevision}, names: names}).stays(before, info, nil); stays != "" {
			t.note(stays)
		}
		return nil
	case isForbidden(err):
		t.note(fmt.Sprintf("%s could not be compared with revision %d: %s", t.title(info), t.plan.Target, forbiddenText(info, t.plan.Key.Namespace, "get")))
		return nil
	case err != nil:
		return err
	case live == nil:
		t.note(t.title(info) + " does not exist, though revision " + strconv.Itoa(t.plan.Target) + " declares it")
		return nil
	}
	paths, err := t.differingFrom(ctx, info, target, live)
	if err == nil && len(paths) > 0 && before != nil && names.alike(before, info) {
		// It was left as it was if backout may not write it.
		var kept []string
		if kept, err = t.differingFrom(ctx, info, before.Object.(*unstructured.Unstructured), live); len(kept) < len(paths) {
			paths = kept
		}
	}
	if err == nil && len(paths) > 0 {
		t.note(differenceText(t.title(info), t.plan.Target, paths))
	}
	return err
}

// differingFrom returns the fields in which a live object differs from what a revision declares.
func (t *dryRun) differingFrom(ctx context.Context, info *resource.Info, declared, live *unstructured.Unstructured) ([]string, error) {
	wanted := *info
	wanted.Object = t.comparable(declared)
	bases := basesOf(declared.Object, t.original(info, live), t.unfinished.declared(t.plan.Key.Namespace, declared.Object))
	return t.client.differingFields(ctx, comparison{&wanted, live, t.comparable(live), bases})
}

// comparable returns a copy without the number of replicas, and with the weights as the plan
// holds them.
func (t *dryRun) comparable(o *unstructured.Unstructured) *unstructured.Unstructured {
	c := o.DeepCopy()
	unstructured.RemoveNestedField(c.Object, "spec", "replicas")
	if t.plan.Hold != nil {
		t.plan.Hold(c.Object)
		unstructured.RemoveNestedField(c.Object, "spec", "replicas") // a weight of some routers
	}
	return c
}

// note adds a difference.
func (t *dryRun) note(text string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.differences = append(t.differences, rollback.Clip(rollback.Printable(text), rollback.MaxSummary))
}

// unfinishedOf reads the unfinished revisions of a release.
func (c *Client) unfinishedOf(ctx context.Context, p rollback.Plan) (unfinished, error) {
	metas, err := c.revisionMetas(ctx, p.Key)
	if err != nil {
		return nil, err
	}
	status := make(map[int]rollback.Status)
	for _, m := range metas {
		status[m.number] = m.status
	}
	return c.unfinished(ctx, p, status)
}
