package traffic

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/dynamic/fake"
	clienttesting "k8s.io/client-go/testing"
	"sigs.k8s.io/yaml"

	"github.com/upcommerce/backout/rollback"
)

// sharedRoute is a live HTTPRoute with canaries of several releases. As the API server does,
// it counts the generations of the spec.
type sharedRoute struct {
	t      *testing.T
	client *fake.FakeDynamicClient
	router *Router
}

func newSharedRoute(t *testing.T, rules string) sharedRoute {
	t.Helper()
	s := sharedRoute{t: t, client: cluster(t, string(must(yaml.Marshal(httpRoute(t, rules)))))}
	route := s.get()
	route.SetGeneration(1) // As a whole number, which YAML does not have.
	if err := s.client.Tracker().Update(httpRoutes(), route, "shop"); err != nil {
		t.Fatal(err)
	}
	write := clienttesting.ObjectReaction(s.client.Tracker())
	s.client.PrependReactor("*", "httproutes", func(a clienttesting.Action) (bool, runtime.Object, error) {
		if a.GetVerb() != "patch" && a.GetVerb() != "update" {
			return false, nil, nil
		}
		before, err := s.client.Tracker().Get(httpRoutes(), "shop", "shop")
		if err != nil {
			return true, nil, err
		}
		previous := before.DeepCopyObject().(*unstructured.Unstructured)
		_, stored, err := write(a)
		if err != nil {
			return true, nil, err
		}
		after := stored.(*unstructured.Unstructured)
		after.SetGeneration(previous.GetGeneration())
		if !reflect.DeepEqual(numbered(t, previous.Object["spec"]), numbered(t, after.Object["spec"])) {
			after.SetGeneration(previous.GetGeneration() + 1)
		}
		return true, after, s.client.Tracker().Update(httpRoutes(), after, "shop")
	})
	s.router = routerOn(s.client)
	return s
}

// numbered makes all numbers the same type.
func numbered(t *testing.T, spec any) any {
	t.Helper()
	return object(t, string(must(yaml.Marshal(map[string]any{"spec": spec}))))
}

func (s sharedRoute) get() *unstructured.Unstructured {
	s.t.Helper()
	o, err := s.client.Resource(httpRoutes()).Namespace("shop").Get(s.t.Context(), "shop", metav1.GetOptions{})
	if err != nil {
		s.t.Fatal(err)
	}
	return o
}

// edit writes other rules, as an operator does.
func (s sharedRoute) edit(rules string) {
	s.t.Helper()
	o := s.get()
	o.Object["spec"] = httpRoute(s.t, rules)["spec"]
	if _, err := s.client.Resource(httpRoutes()).Namespace("shop").Update(s.t.Context(), o, metav1.UpdateOptions{}); err != nil {
		s.t.Fatal(err)
	}
}

// step sheds or restores the canary of a release, "shed a", and returns the weights.
func (s sharedRoute) step(order string, declared ...rollback.Object) (string, error) {
	s.t.Helper()
	verb, release, _ := strings.Cut(order, " ")
	k := rollback.Key{Namespace: "shop", Release: release}
	m := append(rollback.Manifest{object(s.t, fmt.Sprintf(
		`{apiVersion: v1, kind: Service, metadata: {name: %[1]s-canary}, spec: {selector: {app: %[1]s, track: canary}}}`, release))}, declared...)
	var changed []rollback.Weight
	var err error
	if verb == "restore" {
		changed, err = s.router.Restore(s.t.Context(), k, m, nil)
	} else {
		changed, err = s.router.Shed(s.t.Context(), k, m, nil, nil)
	}
	if err == nil && len(changed) == 0 {
		s.t.Errorf("%s: returned no weights", order)
	}
	return listWeights(s.get().Object), err
}

const (
	twoCanaries = `[{backendRefs: [{name: shop, weight: 80}, {name: a-canary, weight: 10}, {name: b-canary, weight: 10}]}]`
	even        = `[{backendRefs: [{name: shop, weight: 50}, {name: a-canary, weight: 50}]}]`
)

// A canary that is held stays at zero whatever happens to another release's canary on the
// same route, and each gets its own weight back.
func TestCanariesOnOneRoute(t *testing.T) {
	for name, c := range map[string]struct {
		declared bool // release a declares the route
		steps    []string
	}{
		"first in, first out": {false, []string{"shed a: 90 0 10", "shed b: 100 0 0", "restore a: 90 10 0", "restore b: 80 10 10"}},
		"first in, last out":  {false, []string{"shed a: 90 0 10", "shed b: 100 0 0", "restore b: 90 0 10", "restore a: 80 10 10"}},
		"again and again": {false, []string{
			"shed a: 90 0 10", "shed a: 90 0 10", "shed b: 100 0 0", "restore a: 90 10 0", "restore a: 90 10 0", "shed a: 100 0 0", "restore b: 90 0 10", "restore a: 80 10 10",
		}},
		"declared, the other was shed":           {true, []string{"shed b: 90 10 0", "restore a: 90 10 0", "restore b: 80 10 10"}},
		"declared, and both were shed":           {true, []string{"shed a: 90 0 10", "shed b: 100 0 0", "restore a: 90 10 0", "restore b: 80 10 10"}},
		"declared, the other comes back earlier": {true, []string{"shed b: 90 10 0", "shed a: 100 0 0", "restore b: 90 0 10", "restore a: 80 10 10"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSharedRoute(t, twoCanaries)
			for i, step := range c.steps {
				order, want, _ := strings.Cut(step, ": ")
				var declared []rollback.Object
				if c.declared && strings.HasSuffix(order, " a") {
					declared = append(declared, httpRoute(t, twoCanaries))
				}
				if got, err := s.step(order, declared...); err != nil || got != want {
					t.Fatalf("step %d, %s: got %q, %v; want %q", i+1, order, got, err, want)
				}
			}
			if held, ok := s.get().GetAnnotations()[heldAnnotation]; ok {
				t.Errorf("after the last restore nothing is held: got %s", held)
			}
		})
	}
}

// Helm writes no weight for another canary that is held.
func TestHoldKeepsOtherCanaries(t *testing.T) {
	s := newSharedRoute(t, twoCanaries)
	m := rollback.Manifest{object(t, `{apiVersion: v1, kind: Service, metadata: {name: a-canary}, spec: {selector: {app: a, track: canary}}}`), httpRoute(t, twoCanaries)}
	for _, step := range []string{": 90 0 10", "shed b: 100 0 0", "restore b: 90 0 10"} {
		order, want, _ := strings.Cut(step, ": ")
		if order != "" {
			if _, err := s.step(order); err != nil {
				t.Fatal(err)
			}
		}
		hold, err := s.router.Hold(t.Context(), rollback.Key{Namespace: "shop", Release: "a"}, m)
		written := httpRoute(t, twoCanaries)
		if hold(written); err != nil || listWeights(written) != want {
			t.Errorf("after %q Helm writes %q, %v; want %q", order, listWeights(written), err, want)
		}
	}
	s.client.PrependReactor("get", "httproutes", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, errors.New("out of reach")
	})
	hold, err := s.router.Hold(t.Context(), shop(), m)
	written := httpRoute(t, twoCanaries)
	if hold(written); err == nil || listWeights(written) != "90 0 10" {
		t.Errorf("without the live route, the manifest's own canary is held all the same: got %q, %v", listWeights(written), err)
	}
}

// backout owns the fields for as long as a canary is held.
func TestHeldFieldsStayOwned(t *testing.T) {
	s := newSharedRoute(t, twoCanaries)
	fields := func() []metav1.ManagedFieldsEntry { return s.get().GetManagedFields() }
	for _, order := range []string{"shed a", "shed b", "restore a", "restore b"} {
		o := s.get()
		o.SetManagedFields([]metav1.ManagedFieldsEntry{{Manager: "helm", Operation: "Apply"}, {Manager: fieldManager, Operation: "Update"}})
		if err := s.client.Tracker().Update(httpRoutes(), o, "shop"); err != nil {
			t.Fatal(err)
		}
		if _, err := s.step(order); err != nil {
			t.Fatalf("%s: %v", order, err)
		}
		if got, want := len(fields()), 2; order != "restore b" && got != want {
			t.Errorf("after %s a canary is held, and backout owns its weight: got %v", order, fields())
		}
	}
	if len(fields()) != 1 {
		t.Errorf("after the last restore backout owns no field: got %v", fields())
	}
}

// Held weights are not restored if the zero may be another client's, and stay on the object
// for the operator to read.
func TestHeldWeightsThatDoNotFit(t *testing.T) {
	const (
		docs    = `[{backendRefs: [{name: docs}]}, {backendRefs: [{name: shop, weight: 100}, {name: a-canary, weight: 0}]}]`
		another = `[{backendRefs: [{name: shop, weight: 50}, {name: a-canary, weight: 50}]}, {backendRefs: [{name: shop, weight: 100}, {name: a-canary, weight: 0}]}]`
	)
	for name, c := range map[string]struct {
		edits []string
		want  string // the weights after the restore
		err   string
	}{
		"no other client wrote": {nil, "50 50", ""},
		"an operator gave the canary a weight, and set it to zero later": {
			[]string{`[{backendRefs: [{name: shop, weight: 99}, {name: a-canary, weight: 1}]}]`, `[{backendRefs: [{name: shop, weight: 100}, {name: a-canary, weight: 0}]}]`},
			"100 0", "may intend the zero: set the weights manually",
		},
		"a rule was put before it":                 {[]string{docs}, "- | 100 0", "set the weights manually"},
		"a rule with the canary was put before it": {[]string{another}, "50 50 | 100 0", "set the weights manually"},
		"the takeover backend is gone":             {[]string{`[{backendRefs: [{name: blue, weight: 100}, {name: a-canary, weight: 0}]}]`}, "100 0", "set the weights manually"},
		"an operator's weight stays":               {[]string{`[{backendRefs: [{name: shop, weight: 99}, {name: a-canary, weight: 1}]}]`}, "99 1", ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSharedRoute(t, even)
			if _, err := s.step("shed a"); err != nil {
				t.Fatal(err)
			}
			for _, rules := range c.edits {
				s.edit(rules)
			}
			got, err := s.step("restore a")
			if got != c.want || c.err == "" && err != nil || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
				t.Errorf("restored to %q, %v; want %q and error %q", got, err, c.want, c.err)
			}
			if _, held := s.get().GetAnnotations()[heldAnnotation]; held != (c.err != "") {
				t.Errorf("held weights stay until they are restored: got %v", s.get().GetAnnotations())
			}
		})
	}
}

// A new shed replaces the held weights of an older one.
func TestShedReplacesHeldWeights(t *testing.T) {
	s := newSharedRoute(t, even)
	_, _ = s.step("shed a")
	s.edit(`[{backendRefs: [{name: shop, weight: 90}, {name: a-canary, weight: 10}]}]`)
	if got, err := s.step("shed a"); err != nil || got != "100 0" {
		t.Fatalf("got %q, %v", got, err)
	}
	if got, err := s.step("restore a"); err != nil || got != "90 10" {
		t.Errorf("got %q, %v; want the weights that the last shed found, 90 10", got, err)
	}
}

// A rule that was at zero when its neighbour was shed stays at zero, and does not count as a
// rule that another client has added since.
func TestRestoreKeepsARuleAtZero(t *testing.T) {
	s := newSharedRoute(t, `[{backendRefs: [{name: shop, weight: 50}, {name: a-canary, weight: 50}]}, {backendRefs: [{name: shop, weight: 9}, {name: a-canary, weight: 0}]}]`)
	if got, err := s.step("shed a"); err != nil || got != "100 0 | 9 0" {
		t.Fatalf("got %q, %v", got, err)
	}
	if got, err := s.step("restore a"); err != nil || got != "50 50 | 9 0" {
		t.Errorf("got %q, %v; want the weights as the shed found them, 50 50 | 9 0", got, err)
	}
}

// The takeover backend is stored in the field takeover, and read from its second name too.
func TestHeldWeightFields(t *testing.T) {
	for _, field := range []string{"takeover", "heir"} { // words:api heir
		s := newSharedRoute(t, `[{backendRefs: [{name: shop, weight: 90}, {name: b-canary, weight: 10}, {name: a-canary, weight: 0}]}]`)
		annotate := func(text string) {
			o := s.get()
			o.SetAnnotations(map[string]string{heldAnnotation: text})
			if err := s.client.Tracker().Update(httpRoutes(), o, "shop"); err != nil {
				t.Fatal(err)
			}
		}
		annotate(fmt.Sprintf(`{"rule 1":{"a-canary":{"weight":20,%q:"shop","generation":1}}}`, field))
		if got, err := s.step("shed b"); err != nil || got != "100 0 0" {
			t.Fatalf("%s: got %q, %v; want 100 0 0", field, got, err)
		}
		const want = `{"rule 1":{"a-canary":{"weight":20,"takeover":"shop","generation":2},"b-canary":{"weight":10,"takeover":"shop","generation":2}}}`
		if got := s.get().GetAnnotations()[heldAnnotation]; got != want {
			t.Errorf("%s: the shed stores\n%s, want\n%s", field, got, want)
		}
		if got, err := s.step("restore b"); err != nil || got != "90 10 0" {
			t.Errorf("%s: got %q, %v; want 90 10 0", field, got, err)
		}
		if got, err := s.step("restore a"); err != nil || got != "70 10 20" {
			t.Errorf("%s: got %q, %v; want the canary's 20 back from shop: 70 10 20", field, got, err)
		}
	}
}

// Held weights that cannot be read count as absent.
func TestHeldWeightsThatCannotBeRead(t *testing.T) {
	for _, text := range []string{"", "20", `{"rule 1":`, `{"rule 1":{"a-canary":{"weight":"20"}}}`, "null"} {
		o := &unstructured.Unstructured{}
		o.SetAnnotations(map[string]string{heldAnnotation: text})
		if got := heldOn(o); got == nil || len(got) > 0 {
			t.Errorf("%q: got %v, want none", text, got)
		}
	}
}
