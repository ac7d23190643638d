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

// shared is a live HTTPRoute with canaries of several releases. As the API server
// does, it counts the generations of a spec.
type shared struct {
	t      *testing.T
	client *fake.FakeDynamicClient
	router *Router
}

func share(t *testing.T, rules string) shared {
	t.Helper()
	s := shared{t: t, client: cluster(t, string(must(yaml.Marshal(httpRoute(t, rules)))))}
	route := s.get()
	route.SetGeneration(1) // as a whole number, which YAML has not
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
		was := before.DeepCopyObject().(*unstructured.Unstructured)
		_, stored, err := write(a)
		if err != nil {
			return true, nil, err
		}
		after := stored.(*unstructured.Unstructured)
		after.SetGeneration(was.GetGeneration())
		if !reflect.DeepEqual(numbered(t, was.Object["spec"]), numbered(t, after.Object["spec"])) {
			after.SetGeneration(was.GetGeneration() + 1)
		}
		return true, after, s.client.Tracker().Update(httpRoutes(), after, "shop")
	})
	s.router = &Router{objects: s.client}
	return s
}

// numbered makes all numbers the same type.
func numbered(t *testing.T, spec any) any {
	t.Helper()
	return object(t, string(must(yaml.Marshal(map[string]any{"spec": spec}))))
}

func (s shared) get() *unstructured.Unstructured {
	s.t.Helper()
	o, err := s.client.Resource(httpRoutes()).Namespace("shop").Get(s.t.Context(), "shop", metav1.GetOptions{})
	if err != nil {
		s.t.Fatal(err)
	}
	return o
}

// person writes other rules by hand.
func (s shared) person(rules string) {
	s.t.Helper()
	o := s.get()
	o.Object["spec"] = httpRoute(s.t, rules)["spec"]
	if _, err := s.client.Resource(httpRoutes()).Namespace("shop").Update(s.t.Context(), o, metav1.UpdateOptions{}); err != nil {
		s.t.Fatal(err)
	}
}

// step sheds or raises the canary of a release, "shed a", and returns the weights.
func (s shared) step(order string, declared ...rollback.Object) (string, error) {
	s.t.Helper()
	verb, release, _ := strings.Cut(order, " ")
	k := rollback.Key{Namespace: "shop", Release: release}
	m := append(rollback.Manifest{object(s.t, fmt.Sprintf(
		`{apiVersion: v1, kind: Service, metadata: {name: %[1]s-canary}, spec: {selector: {app: %[1]s, track: canary}}}`, release))}, declared...)
	do := s.router.Shed
	if verb == "raise" {
		do = s.router.Raise
	}
	told, err := do(s.t.Context(), k, m, nil)
	if err == nil && len(told) == 0 {
		s.t.Errorf("%s: nothing is told", order)
	}
	return weights(s.get().Object), err
}

const (
	twoCanaries = `[{backendRefs: [{name: shop, weight: 80}, {name: a-canary, weight: 10}, {name: b-canary, weight: 10}]}]`
	even        = `[{backendRefs: [{name: shop, weight: 50}, {name: a-canary, weight: 50}]}]`
)

// Whatever happens to one release's canary on a route, another one's that is held
// stays at zero, and each gets back its own.
func TestCanariesOnOneRoute(t *testing.T) {
	for name, c := range map[string]struct {
		declared bool // release a declares the route
		steps    []string
	}{
		"first in, first out": {false, []string{"shed a: 90 0 10", "shed b: 100 0 0", "raise a: 90 10 0", "raise b: 80 10 10"}},
		"first in, last out":  {false, []string{"shed a: 90 0 10", "shed b: 100 0 0", "raise b: 90 0 10", "raise a: 80 10 10"}},
		"again and again": {false, []string{
			"shed a: 90 0 10", "shed a: 90 0 10", "shed b: 100 0 0", "raise a: 90 10 0", "raise a: 90 10 0", "shed a: 100 0 0", "raise b: 90 0 10", "raise a: 80 10 10",
		}},
		"declared, the other was shed":           {true, []string{"shed b: 90 10 0", "raise a: 90 10 0", "raise b: 80 10 10"}},
		"declared, and both were shed":           {true, []string{"shed a: 90 0 10", "shed b: 100 0 0", "raise a: 90 10 0", "raise b: 80 10 10"}},
		"declared, the other comes back earlier": {true, []string{"shed b: 90 10 0", "shed a: 100 0 0", "raise b: 90 0 10", "raise a: 80 10 10"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := share(t, twoCanaries)
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
			if mark, ok := s.get().GetAnnotations()[heldAnnotation]; ok {
				t.Errorf("nothing is held, and there is a mark: %s", mark)
			}
		})
	}
}

// Helm, too, writes nothing that opens another canary's hold.
func TestHoldKeepsOtherCanaries(t *testing.T) {
	s := share(t, twoCanaries)
	m := rollback.Manifest{object(t, `{apiVersion: v1, kind: Service, metadata: {name: a-canary}, spec: {selector: {app: a, track: canary}}}`), httpRoute(t, twoCanaries)}
	for _, step := range []string{": 90 0 10", "shed b: 100 0 0", "raise b: 90 0 10"} {
		order, want, _ := strings.Cut(step, ": ")
		if order != "" {
			if _, err := s.step(order); err != nil {
				t.Fatal(err)
			}
		}
		hold, err := s.router.Hold(t.Context(), rollback.Key{Namespace: "shop", Release: "a"}, m)
		written := httpRoute(t, twoCanaries)
		if hold(written); err != nil || weights(written) != want {
			t.Errorf("after %q Helm writes %q, %v; want %q", order, weights(written), err, want)
		}
	}
	s.client.PrependReactor("get", "httproutes", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, errors.New("out of reach")
	})
	hold, err := s.router.Hold(t.Context(), shop(), m)
	written := httpRoute(t, twoCanaries)
	if hold(written); err == nil || weights(written) != "90 0 10" {
		t.Errorf("without the live route, the canary of the manifest is held all the same: got %q, %v", weights(written), err)
	}
}

// As long as one canary is held, the fields stay backout's.
func TestHeldFieldsStayOwned(t *testing.T) {
	s := share(t, twoCanaries)
	fields := func() []metav1.ManagedFieldsEntry { return s.get().GetManagedFields() }
	for _, order := range []string{"shed a", "shed b", "raise a", "raise b"} {
		o := s.get()
		o.SetManagedFields([]metav1.ManagedFieldsEntry{{Manager: "helm", Operation: "Apply"}, {Manager: fieldManager, Operation: "Update"}})
		if err := s.client.Tracker().Update(httpRoutes(), o, "shop"); err != nil {
			t.Fatal(err)
		}
		if _, err := s.step(order); err != nil {
			t.Fatalf("%s: %v", order, err)
		}
		if got, want := len(fields()), 2; order != "raise b" && got != want {
			t.Errorf("after %s a canary is held, and its weight belongs to nobody: got %v", order, fields())
		}
	}
	if len(fields()) != 1 {
		t.Errorf("nothing is held any more, and backout still owns fields: got %v", fields())
	}
}

// A mark that may not be about the zero that is there brings nothing back, and
// stays for a person to read.
func TestMarksThatDoNotFit(t *testing.T) {
	const (
		docs    = `[{backendRefs: [{name: docs}]}, {backendRefs: [{name: shop, weight: 100}, {name: a-canary, weight: 0}]}]`
		another = `[{backendRefs: [{name: shop, weight: 50}, {name: a-canary, weight: 50}]}, {backendRefs: [{name: shop, weight: 100}, {name: a-canary, weight: 0}]}]`
	)
	for name, c := range map[string]struct {
		persons []string
		want    string // the weights after the raise
		err     string
	}{
		"nobody wrote": {nil, "50 50", ""},
		"a person raised the weight, and took the canary out later": {
			[]string{`[{backendRefs: [{name: shop, weight: 99}, {name: a-canary, weight: 1}]}]`, `[{backendRefs: [{name: shop, weight: 100}, {name: a-canary, weight: 0}]}]`},
			"100 0", "may mean the zero; set the weights by hand",
		},
		"a rule was put before it":                         {[]string{docs}, "- | 100 0", "set the weights by hand"},
		"a rule with the canary was put before it":         {[]string{another}, "50 50 | 100 0", "set the weights by hand"},
		"who inherited it is gone":                         {[]string{`[{backendRefs: [{name: blue, weight: 100}, {name: a-canary, weight: 0}]}]`}, "100 0", "set the weights by hand"},
		"the person's weight is the last word while it is": {[]string{`[{backendRefs: [{name: shop, weight: 99}, {name: a-canary, weight: 1}]}]`}, "99 1", ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := share(t, even)
			if _, err := s.step("shed a"); err != nil {
				t.Fatal(err)
			}
			for _, rules := range c.persons {
				s.person(rules)
			}
			got, err := s.step("raise a")
			if got != c.want || c.err == "" && err != nil || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
				t.Errorf("raised to %q, %v; want %q and error %q", got, err, c.want, c.err)
			}
			if _, marked := s.get().GetAnnotations()[heldAnnotation]; marked != (c.err != "") {
				t.Errorf("a mark stays exactly as long as it was not used: %v", s.get().GetAnnotations())
			}
		})
	}
}

// A new shed replaces the mark of an older one.
func TestShedReplacesAStaleMark(t *testing.T) {
	s := share(t, even)
	_, _ = s.step("shed a")
	s.person(`[{backendRefs: [{name: shop, weight: 90}, {name: a-canary, weight: 10}]}]`)
	if got, err := s.step("shed a"); err != nil || got != "100 0" {
		t.Fatalf("got %q, %v", got, err)
	}
	if got, err := s.step("raise a"); err != nil || got != "90 10" {
		t.Errorf("got %q, %v; want what the last shed found, 90 10", got, err)
	}
}

// A rule that was closed when its neighbour was shed stays so, and is no rule that
// somebody has put there since.
func TestRaiseLeavesAClosedRule(t *testing.T) {
	s := share(t, `[{backendRefs: [{name: shop, weight: 50}, {name: a-canary, weight: 50}]}, {backendRefs: [{name: shop, weight: 9}, {name: a-canary, weight: 0}]}]`)
	if got, err := s.step("shed a"); err != nil || got != "100 0 | 9 0" {
		t.Fatalf("got %q, %v", got, err)
	}
	if got, err := s.step("raise a"); err != nil || got != "50 50 | 9 0" {
		t.Errorf("got %q, %v; want the weights as the shed found them, 50 50 | 9 0", got, err)
	}
}
