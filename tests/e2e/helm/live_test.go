package helm

import (
	"fmt"
	"slices"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// verify compares the live objects with those that a revision declares: every declared
// field exists, and nothing that only the other revision declares.
func (c *cluster) verify(t *testing.T, namespace, declared, other string) {
	t.Helper()
	others := make(map[string]*unstructured.Unstructured)
	for _, o := range decode(t, other) {
		others[o.GetKind()+"/"+o.GetName()] = o
	}
	for _, o := range decode(t, declared) {
		id := o.GetKind() + "/" + o.GetName()
		live := c.live(t, o, namespace)
		if live == nil {
			t.Errorf("%s is declared but does not exist", id)
			continue
		}
		var gone map[string]any
		if was := others[id]; was != nil {
			gone = was.Object
		}
		for _, difference := range differences(id, o.Object, gone, live.Object) {
			t.Error(difference)
		}
		delete(others, id)
	}
	for id, o := range others {
		if c.live(t, o, namespace) != nil {
			t.Errorf("%s exists but is not declared", id)
		}
	}
}

// differences says where the live value is not the declared one. A live object may have
// more fields, such as defaults, but none that only the other revision declares.
func differences(path string, declared, was, live any) []string {
	switch d := declared.(type) {
	case map[string]any:
		l, ok := live.(map[string]any)
		if !ok {
			return []string{fmt.Sprintf("%s is %v, declared is %v", path, live, declared)}
		}
		w, _ := was.(map[string]any)
		var found []string
		for key, value := range d {
			found = append(found, differences(path+"."+key, value, w[key], l[key])...)
		}
		for key := range w {
			if _, stays := d[key]; !stays && l[key] != nil {
				found = append(found, fmt.Sprintf("%s.%s is %v, and no longer declared", path, key, l[key]))
			}
		}
		return found
	case []any:
		l, _ := live.([]any)
		if len(l) != len(d) {
			return []string{fmt.Sprintf("%s is %v, declared is %v", path, live, declared)}
		}
		var found []string
		for i := range d {
			found = append(found, differences(fmt.Sprintf("%s[%d]", path, i), d[i], nil, l[i])...)
		}
		return found
	default:
		if fmt.Sprint(declared) != fmt.Sprint(live) {
			return []string{fmt.Sprintf("%s is %v, declared is %v", path, live, declared)}
		}
		return nil
	}
}

// The comparison finds differences; otherwise the other tests would prove nothing.
func TestDifferences(t *testing.T) {
	object := func(pairs ...string) map[string]any {
		o := make(map[string]any)
		for i := 0; i < len(pairs); i += 2 {
			o[pairs[i]] = pairs[i+1]
		}
		return o
	}
	for name, c := range map[string]struct {
		declared, was, live any
		different           bool
	}{
		"the same":                   {object("a", "1"), object("a", "2"), object("a", "1"), false},
		"a default":                  {object("a", "1"), object("a", "2"), object("a", "1", "b", "2"), false},
		"another value":              {object("a", "1"), object("a", "2"), object("a", "2"), true},
		"a field is missing":         {object("a", "1"), object(), object(), true},
		"a field is left over":       {object("a", "1"), object("b", "2"), object("a", "1", "b", "2"), true},
		"an element is left over":    {[]any{"a"}, []any{"a", "b"}, []any{"a", "b"}, true},
		"an element has other value": {[]any{object("a", "1")}, nil, []any{object("a", "2")}, true},
	} {
		if found := differences("x", c.declared, c.was, c.live); (len(found) > 0) != c.different {
			t.Errorf("%s: got %q", name, found)
		}
	}
	if slices.Equal(differences("x", 1, nil, 2), nil) {
		t.Error("a number may differ, too")
	}
}
