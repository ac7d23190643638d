package helm

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"helm.sh/helm/v3/pkg/storage/driver"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/cli-runtime/pkg/resource"

	"github.com/upcommerce/backout/rollback"
)

// maxUnfinished bounds the unfinished revisions that are read.
const maxUnfinished = 3

// unfinished are the objects, by identity, of the newest revisions whose upgrade or rollback
// failed or was interrupted, the suspect one apart. Helm takes the last deployed revision for
// the live one, so that parts which such a revision wrote stay in the live objects for ever.
type unfinished []map[string]rollback.Object

// unfinishedNumbers returns the numbers of those revisions, newest first. status is that of
// each revision.
func unfinishedNumbers(status map[int]rollback.Status, p rollback.Plan) []int {
	var numbers []int
	for number, s := range status {
		if (s == rollback.StatusFailed || s.Pending()) && number != p.Suspect.Number && number != p.Target {
			numbers = append(numbers, number)
		}
	}
	slices.SortFunc(numbers, func(a, b int) int { return b - a })
	return numbers[:min(len(numbers), maxUnfinished)]
}

// unfinished reads the objects of the unfinished revisions. It leaves out revisions that are
// gone or that cannot be decoded.
func (c *Client) unfinished(ctx context.Context, p rollback.Plan, status map[int]rollback.Status) (unfinished, error) {
	var found unfinished
	for _, number := range unfinishedNumbers(status, p) {
		declared, err := c.Manifest(ctx, p.Key, number)
		switch {
		case errors.Is(err, errCorrupt), errors.Is(err, driver.ErrReleaseNotFound):
			continue
		case err != nil:
			return nil, fmt.Errorf("read what revision %d may have left: %w", number, err)
		}
		objects := make(map[string]rollback.Object, len(declared))
		for _, o := range declared {
			objects[identity(p.Key.Namespace, o)] = o
		}
		found = append(found, objects)
	}
	return found, nil
}

// declareTheSame reports whether every unfinished revision that declares the object declares
// it the same. A built object has its namespace, and a declared one need not.
func (u unfinished) declareTheSame(namespace string, info *resource.Info) bool {
	wanted, ok := info.Object.(*unstructured.Unstructured)
	if !ok {
		return false
	}
	built := inNamespace(namespace, wanted.Object)
	for _, o := range u.declared(namespace, wanted.Object) {
		if !equalValues(inNamespace(namespace, o), built) {
			return false
		}
	}
	return true
}

// inNamespace returns a copy of the object that names its namespace.
func inNamespace(namespace string, o rollback.Object) rollback.Object {
	c := &unstructured.Unstructured{Object: maps.Clone(o)}
	metadata, _ := o["metadata"].(map[string]any)
	c.Object["metadata"] = maps.Clone(metadata)
	c.SetNamespace(namespaceOf(namespace, o))
	return c.Object
}

// declared returns the object as the unfinished revisions declare it.
func (u unfinished) declared(namespace string, object rollback.Object) []rollback.Object {
	var found []rollback.Object
	for _, objects := range u {
		if o, ok := objects[identity(namespace, object)]; ok {
			found = append(found, o)
		}
	}
	return found
}

// equalValues reports whether two decoded values are equal, whatever types their numbers have.
func equalValues(a, b any) bool {
	if x, ok := number(a); ok {
		y, ok := number(b)
		return ok && x == y
	}
	switch x := a.(type) {
	case map[string]any:
		y, ok := b.(map[string]any)
		if !ok || len(x) != len(y) {
			return false
		}
		for key, value := range x {
			other, both := y[key]
			if !both || !equalValues(value, other) {
				return false
			}
		}
		return true
	case []any:
		y, ok := b.([]any)
		if !ok || len(x) != len(y) {
			return false
		}
		for i := range x {
			if !equalValues(x[i], y[i]) {
				return false
			}
		}
		return true
	default:
		return a == b
	}
}

// number returns a decoded number.
func number(value any) (float64, bool) {
	switch n := value.(type) {
	case int64:
		return float64(n), true
	case float64:
		return n, true
	case int:
		return float64(n), true
	default:
		return 0, false
	}
}
