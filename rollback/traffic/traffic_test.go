package traffic_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/upcommerce/backout/rollback"
)

const (
	canary = "nginx.ingress.kubernetes.io/canary"
	weight = "nginx.ingress.kubernetes.io/canary-weight"
	held   = "backout.dev/held-weight"
)

func shop() rollback.Key { return rollback.Key{Namespace: "shop", Release: "web"} }

// ingress is a live Ingress of namespace shop.
func ingress(name string, annotations map[string]string) *networkingv1.Ingress {
	return &networkingv1.Ingress{ObjectMeta: metav1.ObjectMeta{
		Namespace: "shop", Name: name, Annotations: maps.Clone(annotations),
	}}
}

// declare is an Ingress as a manifest has it.
func declare(name string, annotations map[string]string) rollback.Object {
	object := rollback.Object{
		"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": map[string]any{"name": name},
	}
	if len(annotations) > 0 {
		texts := make(map[string]any)
		for key, value := range annotations {
			texts[key] = value
		}
		object["metadata"].(map[string]any)["annotations"] = texts
	}
	return object
}

// in puts a declared object into a namespace.
func in(namespace string, object rollback.Object) rollback.Object {
	object["metadata"].(map[string]any)["namespace"] = namespace
	return object
}

func TestShed(t *testing.T) {
	for _, c := range []struct {
		name string
		live map[string]string
		from string
		want map[string]string
	}{
		{
			"a weight goes to zero, and stays on the object as held",
			map[string]string{canary: "true", weight: "20"},
			"20",
			map[string]string{canary: "true", weight: "0", held: "20"},
		},
		{
			"spaces around a weight mean nothing",
			map[string]string{canary: "true", weight: " 20 "},
			"20",
			map[string]string{canary: "true", weight: "0", held: "20"},
		},
		{
			"other annotations stay",
			map[string]string{canary: "true", weight: "5", "a/b~c": "d"},
			"5",
			map[string]string{canary: "true", weight: "0", held: "5", "a/b~c": "d"},
		},
		{
			"a canary is one in whatever way ingress-nginx reads true",
			map[string]string{canary: "True", weight: "20"},
			"20",
			map[string]string{canary: "True", weight: "0", held: "20"},
		},
		{
			"a weight that is not there is zero",
			map[string]string{canary: "true"},
			"0", nil,
		},
		{
			"zero is not written",
			map[string]string{canary: "true", weight: "0"},
			"0", nil,
		},
		{
			"a second shed does not forget what the first one found",
			map[string]string{canary: "true", weight: "0", held: "20"},
			"20", nil,
		},
		{
			"a weight that came back goes to zero again",
			map[string]string{canary: "true", weight: "50", held: "20"},
			"50",
			map[string]string{canary: "true", weight: "0", held: "50"},
		},
		{
			"what cannot be read as a weight goes to zero too",
			map[string]string{canary: "true", weight: "half"},
			"half",
			map[string]string{canary: "true", weight: "0", held: "half"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			router, server := newRouter(t, ingress("web-canary", c.live))
			// The manifest's own weight does not matter: the live one counts.
			got, err := router.Shed(t.Context(), shop(), rollback.Manifest{declare("web-canary", map[string]string{canary: "true", weight: "99"})}, nil)
			if err != nil {
				t.Fatal(err)
			}
			want := []rollback.Weight{{Kind: "Ingress", Name: "web-canary", From: c.from, To: "0"}}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("the weights as they were and are (-want +got):\n%s", diff)
			}
			writes := 1
			if c.want == nil {
				c.want, writes = c.live, 0
			}
			if diff := cmp.Diff(c.want, server.annotations("shop/web-canary")); diff != "" {
				t.Errorf("the live annotations (-want +got):\n%s", diff)
			}
			if server.patches != writes {
				t.Errorf("only a change is written: got %d patches, want %d", server.patches, writes)
			}
		})
	}
}

func TestRaise(t *testing.T) {
	for _, c := range []struct {
		name           string
		live, declared map[string]string
		from, to       string
		want           map[string]string
	}{
		{
			"the declared weight comes back, and nothing is held any more",
			map[string]string{canary: "true", weight: "0", held: "20"},
			map[string]string{canary: "true", weight: "20"},
			"0", "20",
			map[string]string{canary: "true", weight: "20"},
		},
		{
			"the target's weight counts, not the one that was held",
			map[string]string{canary: "true", weight: "0", held: "50"},
			map[string]string{canary: "true", weight: "5"},
			"0", "5",
			map[string]string{canary: "true", weight: "5"},
		},
		{
			"a target without a weight has zero",
			map[string]string{canary: "true", weight: "0", held: "20"},
			map[string]string{canary: "true"},
			"0", "0",
			map[string]string{canary: "true", weight: "0"},
		},
		{
			"somebody gave the weight back already: only the mark goes",
			map[string]string{canary: "true", weight: "20", held: "20"},
			map[string]string{canary: "true", weight: "20"},
			"20", "20",
			map[string]string{canary: "true", weight: "20"},
		},
		{
			"what is right is not written",
			map[string]string{canary: "true", weight: "20"},
			map[string]string{canary: "true", weight: " 20"},
			"20", "20", nil,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			router, server := newRouter(t, ingress("web-canary", c.live))
			got, err := router.Raise(t.Context(), shop(), rollback.Manifest{declare("web-canary", c.declared)}, nil)
			if err != nil {
				t.Fatal(err)
			}
			want := []rollback.Weight{{Kind: "Ingress", Name: "web-canary", From: c.from, To: c.to}}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("the weights as they were and are (-want +got):\n%s", diff)
			}
			writes := 1
			if c.want == nil {
				c.want, writes = c.live, 0
			}
			if diff := cmp.Diff(c.want, server.annotations("shop/web-canary")); diff != "" {
				t.Errorf("the live annotations (-want +got):\n%s", diff)
			}
			if server.patches != writes {
				t.Errorf("only a change is written: got %d patches, want %d", server.patches, writes)
			}
		})
	}
}

// TestShedTwiceThenRaise is the whole life of a weight, with a process killed
// after the first shed.
func TestShedTwiceThenRaise(t *testing.T) {
	declared := map[string]string{canary: "true", weight: "20"}
	manifest := rollback.Manifest{declare("web-canary", declared)}
	router, server := newRouter(t, ingress("web-canary", declared))
	for range 2 {
		weights, err := router.Shed(t.Context(), shop(), manifest, nil)
		if err != nil || len(weights) != 1 || weights[0].From != "20" {
			t.Errorf("each shed tells the weight that the canary had: got %v, %v", weights, err)
		}
	}
	if got := server.annotations("shop/web-canary"); got[weight] != "0" || got[held] != "20" || server.patches != 1 {
		t.Errorf("the second shed writes nothing: got %v after %d patches", got, server.patches)
	}
	if _, err := router.Raise(t.Context(), shop(), manifest, nil); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(declared, server.annotations("shop/web-canary")); diff != "" {
		t.Errorf("afterwards the object is as it was declared (-want +got):\n%s", diff)
	}
}

func TestOnlyCanaryRoutesAreTouched(t *testing.T) {
	stable := map[string]string{weight: "100"}
	off := map[string]string{canary: "false", weight: "100"}
	router, server := newRouter(t, ingress("web", stable), ingress("web-off", off), ingress("web-bare", nil),
		ingress("other-canary", map[string]string{canary: "true", weight: "30"}))
	foreign, service := declare("other-canary", map[string]string{canary: "true"}), declare("other-canary", map[string]string{canary: "true"})
	foreign["apiVersion"] = "example.com/v1"
	service["apiVersion"], service["kind"] = "v1", "Service"
	manifest := rollback.Manifest{declare("web", stable), declare("web-off", off), declare("web-bare", nil), foreign, service, {}}
	for name, call := range map[string]func(context.Context, rollback.Key, rollback.Manifest, func(context.Context) error) ([]rollback.Weight, error){
		"Shed": router.Shed, "Raise": router.Raise,
	} {
		weights, err := call(t.Context(), shop(), manifest, nil)
		if err != nil || len(weights) != 0 {
			t.Errorf("%s: a manifest without a canary route yields nothing and is no error: got %v, %v", name, weights, err)
		}
	}
	if server.gets+server.patches != 0 {
		t.Errorf("what the manifest does not declare a canary route is not even read: got %d requests", server.gets+server.patches)
	}
}

// TestLiveRouteIsNoCanary: between the revision's deployment and the alert,
// somebody made the object the route of everybody.
func TestLiveRouteIsNoCanary(t *testing.T) {
	live := map[string]string{canary: "false", weight: "20"}
	router, server := newRouter(t, ingress("web-canary", live))
	manifest := rollback.Manifest{declare("web-canary", map[string]string{canary: "true", weight: "50"})}
	if weights, err := router.Shed(t.Context(), shop(), manifest, nil); err != nil || len(weights) != 0 {
		t.Errorf("a live Ingress that is no canary is left alone: got %v, %v", weights, err)
	}
	if weights, err := router.Raise(t.Context(), shop(), manifest, nil); err != nil || len(weights) != 0 {
		t.Errorf("a live Ingress that is no canary is left alone: got %v, %v", weights, err)
	}
	if server.patches != 0 {
		t.Errorf("a live Ingress that is no canary is not written: got %v", server.annotations("shop/web-canary"))
	}
}

func TestOtherNamespacesAreRefused(t *testing.T) {
	annotations := map[string]string{canary: "true", weight: "20"}
	foreign := ingress("theirs", annotations)
	foreign.Namespace = "payments"
	router, server := newRouter(t, ingress("web-canary", annotations), foreign, ingress("theirs", annotations))
	manifest := rollback.Manifest{in("payments", declare("theirs", annotations)), in("shop", declare("web-canary", annotations))}

	weights, err := router.Shed(t.Context(), shop(), manifest, nil)
	if err == nil || !strings.Contains(err.Error(), "payments/theirs lies outside the release's namespace shop") {
		t.Errorf("a route in another namespace is named in the error: got %v", err)
	}
	if len(weights) != 1 || server.annotations("shop/web-canary")[weight] != "0" {
		t.Errorf("one bad route does not keep the others from being shed: got %v", weights)
	}
	for _, key := range []string{"payments/theirs", "shop/theirs"} {
		if got := server.annotations(key)[weight]; got != "20" {
			t.Errorf("%s is not touched: its weight is %s", key, got)
		}
	}
}

func TestShedGoesOn(t *testing.T) {
	annotations := map[string]string{canary: "true", weight: "20"}
	manifest := rollback.Manifest{declare("gone", annotations), declare("web-canary", annotations)}
	router, server := newRouter(t, ingress("web-canary", annotations))
	weights, err := router.Shed(t.Context(), shop(), manifest, nil)
	if err != nil || len(weights) != 1 || weights[0].Name != "web-canary" {
		t.Errorf("an object that is gone routes nothing and is left out: got %v, %v", weights, err)
	}

	server.refuse = http.StatusForbidden
	server.put(ingress("web-canary", annotations))
	before := server.patches
	_, err = router.Shed(t.Context(), shop(), manifest, nil)
	if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "Ingress shop/web-canary") {
		t.Errorf("what may not be written is named in the error: got %v", err)
	}
	if n := server.patches - before; n != 1 {
		t.Errorf("what may not be written is not tried again at once: got %d patches", n)
	}
}

func TestConflicts(t *testing.T) {
	declared := map[string]string{canary: "true", weight: "20"}
	manifest := rollback.Manifest{declare("web-canary", declared)}

	t.Run("somebody writes in between", func(t *testing.T) {
		router, server := newRouter(t, ingress("web-canary", declared))
		server.meanwhile = func(patch int) {
			if patch <= 3 {
				server.put(ingress("web-canary", map[string]string{canary: "true", weight: fmt.Sprint(50 + patch)}))
			}
		}
		weights, err := router.Shed(t.Context(), shop(), manifest, nil)
		if err != nil {
			t.Fatal(err)
		}
		if weights[0].From != "53" || server.annotations("shop/web-canary")[held] != "53" {
			t.Errorf("each attempt reads the object anew: got %v, held %s", weights, server.annotations("shop/web-canary")[held])
		}
		if server.gets != 4 || server.patches != 4 {
			t.Errorf("a patch of what was changed meanwhile is repeated: got %d reads, %d patches", server.gets, server.patches)
		}
	})

	t.Run("somebody removes it in between", func(t *testing.T) {
		router, server := newRouter(t, ingress("web-canary", declared))
		server.meanwhile = func(int) { delete(server.ingresses, "shop/web-canary") }
		if weights, err := router.Shed(t.Context(), shop(), manifest, nil); err != nil || len(weights) != 0 {
			t.Errorf("an object that goes away routes nothing: got %v, %v", weights, err)
		}
	})

	for name, code := range map[string]int{"lost races": http.StatusConflict, "failed tests": http.StatusUnprocessableEntity} {
		t.Run("endless "+name, func(t *testing.T) {
			router, server := newRouter(t, ingress("web-canary", declared))
			server.refuse = code
			began := time.Now()
			_, err := router.Shed(t.Context(), shop(), manifest, nil)
			if !apierrors.IsConflict(err) && !apierrors.IsInvalid(err) {
				t.Errorf("the last answer is the error: got %v", err)
			}
			if server.patches != 10 {
				t.Errorf("a patch is tried 10 times: got %d", server.patches)
			}
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("giving up takes milliseconds: took %s", took)
			}
		})
	}

	t.Run("no time left", func(t *testing.T) {
		router, server := newRouter(t, ingress("web-canary", declared))
		server.refuse = http.StatusConflict
		ctx, cancel := context.WithCancel(t.Context())
		server.meanwhile = func(int) { cancel() }
		if _, err := router.Shed(ctx, shop(), manifest, nil); err == nil || server.patches > 2 {
			t.Errorf("nothing is tried after the context's end: got %v after %d patches", err, server.patches)
		}
	})
}

func TestHold(t *testing.T) {
	router, _ := newRouter(t)
	for _, c := range []struct {
		rule           string
		declared, want map[string]string
	}{
		{"a canary's weight is zero", map[string]string{canary: "true", weight: "20"}, map[string]string{canary: "true", weight: "0"}},
		{"a canary without a weight gets an explicit zero", map[string]string{canary: "true"}, map[string]string{canary: "true", weight: "0"}},
		{"a stable route is left alone", map[string]string{weight: "20"}, map[string]string{weight: "20"}},
		{"a canary that is switched off is left alone", map[string]string{canary: "false", weight: "20"}, map[string]string{canary: "false", weight: "20"}},
		{"what has no annotations is left alone", nil, nil},
	} {
		got := declare("web-canary", c.declared)
		hold, err := router.Hold(t.Context(), shop(), rollback.Manifest{declare("web-canary", c.declared)})
		if err != nil {
			t.Fatal(err)
		}
		hold(got)
		if diff := cmp.Diff(declare("web-canary", c.want), got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.rule, diff)
		}
	}
	hold, err := router.Hold(t.Context(), shop(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, other := range []rollback.Object{
		{}, {"kind": "Ingress"}, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"annotations": map[string]any{canary: "true"}}},
	} {
		before := fmt.Sprint(other)
		if hold(other); fmt.Sprint(other) != before {
			t.Errorf("what is no canary route is left alone: got %v, had %s", other, before)
		}
	}
}

// TestWhatIsNotTheSameAnyMoreIsNotShed: somebody deploys between the reading and
// the writing of the route.
func TestWhatIsNotTheSameAnyMoreIsNotShed(t *testing.T) {
	live := map[string]string{canary: "true", weight: "20"}
	router, server := newRouter(t, ingress("web-canary", live))
	asked := 0
	_, err := router.Shed(t.Context(), shop(), rollback.Manifest{declare("web-canary", live)}, func(context.Context) error {
		asked = server.gets
		return rollback.ErrMoved
	})
	if !errors.Is(err, rollback.ErrMoved) || server.patches != 0 || asked == 0 {
		t.Errorf("asked after %d reads, %d patches, %v; want to be asked after the object was read, and nothing written", asked, server.patches, err)
	}
}

// TestWhatWasSeenIsNotReadAgain: Look has read the route a moment ago.
func TestWhatWasSeenIsNotReadAgain(t *testing.T) {
	live := map[string]string{canary: "true", weight: "20"}
	manifest := rollback.Manifest{declare("web-canary", live)}
	for name, c := range map[string]struct {
		meanwhile   func(server *apiServer)
		reads       int
		told, after string
	}{
		"nothing happens": {func(*apiServer) {}, 1, "20", "0"},
		"somebody changes the weight": {func(s *apiServer) {
			s.put(ingress("web-canary", map[string]string{canary: "true", weight: "50"}))
		}, 2, "50", "0"},
	} {
		t.Run(name, func(t *testing.T) {
			router, server := newRouter(t, ingress("web-canary", live))
			seen, _ := router.Look(t.Context(), shop(), manifest) // it has no endpoints to look at
			c.meanwhile(server)
			told, err := router.ShedSeen(t.Context(), shop(), seen, nil)
			if err != nil || len(told) != 1 || told[0].From != c.told || server.annotations("shop/web-canary")[weight] != c.after {
				t.Errorf("told %v, %v; the weight is %s, want %s", told, err, server.annotations("shop/web-canary")[weight], c.after)
			}
			if server.gets != c.reads {
				t.Errorf("the route was read %d times, want %d", server.gets, c.reads)
			}
		})
	}

	router, server := newRouter(t, ingress("web-canary", live))
	seen, _ := router.Look(t.Context(), shop(), manifest)
	if _, err := router.ShedSeen(t.Context(), shop(), seen, func(context.Context) error { return rollback.ErrMoved }); !errors.Is(err, rollback.ErrMoved) || server.patches != 0 {
		t.Errorf("%v, %d patches; want nothing written about a release that has moved on", err, server.patches)
	}
	if _, err := router.ShedSeen(t.Context(), shop(), rollback.Routing{}, nil); err == nil {
		t.Error("routes that were not looked at must not count as none")
	}
}
