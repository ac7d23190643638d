package ledger_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/rest"
	clienttesting "k8s.io/client-go/testing"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/ledger"
)

func key() rollback.Key { return rollback.Key{Namespace: "shop", Release: "web"} }

// annotated is the ConfigMap of a namespace's pauses as `kubectl create` and `kubectl
// annotate` make it: without labels.
func annotated(namespace string, annotations map[string]string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "backout.v1", Annotations: annotations}}
}

func TestPausedByAnnotation(t *testing.T) {
	for _, c := range []struct {
		name      string
		own, shop map[string]string
		want      string
	}{
		{"nothing is paused", nil, nil, ""},
		{
			"the namespace", nil,
			map[string]string{"backout.dev/paused": "2026-11-27T12:00:00Z by kubernetes-admin: the sale"},
			"namespace shop is paused: 2026-11-27T12:00:00Z by kubernetes-admin: the sale",
		},
		{"the release", nil, map[string]string{"backout.dev/paused.web": "by ann"}, "release shop/web is paused: by ann"},
		{"another release", nil, map[string]string{"backout.dev/paused.api": "by ann"}, ""},
		{"a release whose name begins alike", nil, map[string]string{"backout.dev/paused.web.eu": "by ann"}, ""},
		{"everything", map[string]string{"backout.dev/paused-everywhere": "by ann"}, nil, "everything is paused: by ann"},
		{"everything, but not in backout's own namespace", nil, map[string]string{"backout.dev/paused-everywhere": "by ann"}, ""},
		{"backout's own namespace", map[string]string{"backout.dev/paused": "by ann"}, nil, ""},
		{
			"all three, the widest first",
			map[string]string{"backout.dev/paused-everywhere": "by ann"},
			map[string]string{"backout.dev/paused": "by bob", "backout.dev/paused.web": "by cyd"},
			"everything is paused: by ann; namespace shop is paused: by bob; release shop/web is paused: by cyd",
		},
		{"an empty annotation", nil, map[string]string{"backout.dev/paused": ""}, "namespace shop is paused"},
		{"true, set manually", nil, map[string]string{"backout.dev/paused": "true"}, "namespace shop is paused: true"},
		{"false, set manually", nil, map[string]string{"backout.dev/paused": "False"}, ""},
		{"until a time in the past", nil, map[string]string{"backout.dev/paused": "2020-11-27T12:00:00Z until 2020-11-27T14:00:00Z by ann"}, ""},
		{
			"until a time to come", nil,
			map[string]string{"backout.dev/paused": "2020-11-27T12:00:00Z until 2999-11-27T14:00:00Z by ann"},
			"namespace shop is paused: 2020-11-27T12:00:00Z until 2999-11-27T14:00:00Z by ann",
		},
		{"until a time in the past, set manually", nil, map[string]string{"backout.dev/paused": "until 2020-11-27T14:00:00Z"}, ""},
		{"until a time that cannot be read", nil, map[string]string{"backout.dev/paused": "until tomorrow"}, "namespace shop is paused: until tomorrow"},
		{
			"a reason that mentions a time", nil,
			map[string]string{"backout.dev/paused": "2020-11-27T12:00:00Z by ann: until 2020-11-28T12:00:00Z"},
			"namespace shop is paused: 2020-11-27T12:00:00Z by ann: until 2020-11-28T12:00:00Z",
		},
		{"control characters", nil, map[string]string{"backout.dev/paused": "by ann\x1b[2J\u202e the sale"}, "namespace shop is paused: by ann [2J the sale"},
		{"several lines", nil, map[string]string{"backout.dev/paused": "by ann\n\tthe sale "}, "namespace shop is paused: by ann the sale"},
		{
			"a long text", nil,
			map[string]string{"backout.dev/paused": strings.Repeat("é", 301)},
			"namespace shop is paused: " + strings.Repeat("é", 299) + "…",
		},
	} {
		client := fake.NewClientset()
		for namespace, annotations := range map[string]map[string]string{"backout": c.own, "shop": c.shop} {
			if annotations == nil {
				continue
			}
			if _, err := client.CoreV1().ConfigMaps(namespace).Create(t.Context(), annotated(namespace, annotations), metav1.CreateOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		got, err := newLedger(client, "shop").Paused(t.Context(), key())
		if got != c.want || err != nil {
			t.Errorf("%s: want %q, got %q, %v", c.name, c.want, got, err)
		}
	}
}

// TestPauseAndResume: one case begins with a ConfigMap that an operator made.
func TestPauseAndResume(t *testing.T) {
	for name, client := range map[string]*fake.Clientset{
		"no ConfigMap":            fake.NewClientset(),
		"an operator's ConfigMap": fake.NewClientset(annotated("shop", map[string]string{"backout.dev/paused.api": "by ann"})),
	} {
		l := newLedger(client, "shop")
		release, namespace := ledger.Scope{Namespace: "shop", Release: "web"}, ledger.Scope{Namespace: "shop"}
		if was, err := l.Resume(t.Context(), release); was || err != nil {
			t.Errorf("%s: a release that is not paused cannot be resumed, which is no error: got %t, %v", name, was, err)
		}
		for _, s := range []ledger.Scope{namespace, release, {}} {
			if err := l.Pause(t.Context(), s, "by bob"); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := l.Paused(t.Context(), key()); err != nil ||
			got != "everything is paused: by bob; namespace shop is paused: by bob; release shop/web is paused: by bob" {
			t.Errorf("%s: a pause does not replace that of another scope: got %q, %v", name, got, err)
		}
		labels := map[string]string{"app.kubernetes.io/managed-by": "backout", "backout.dev/kind": "pauses"}
		if diff := cmp.Diff(labels, configMap(t, client, "shop", "backout.v1").Labels); diff != "" {
			t.Errorf("%s: the ConfigMap of pauses has its labels (-want +got):\n%s", name, diff)
		}
		for _, s := range []ledger.Scope{{}, namespace, release} {
			if was, err := l.Resume(t.Context(), s); !was || err != nil {
				t.Errorf("%s: a paused scope is resumed: got %t, %v", name, was, err)
			}
		}
		if got, err := l.Paused(t.Context(), key()); got != "" || err != nil {
			t.Errorf("%s: a resumed scope is not paused: got %q, %v", name, got, err)
		}
		if name == "an operator's ConfigMap" && configMap(t, client, "shop", "backout.v1").Annotations["backout.dev/paused.api"] != "by ann" {
			t.Errorf("%s: another release's pause stays", name)
		}
	}
}

func TestAnnotationOfAPauseIsValid(t *testing.T) {
	for _, release := range []string{strings.Repeat("a", 53), "a.b.c", "0", "a--b"} {
		client := fake.NewClientset()
		if err := newLedger(client).Pause(t.Context(), ledger.Scope{Namespace: "shop", Release: release}, "by ann"); err != nil {
			t.Fatal(err)
		}
		for name := range configMap(t, client, "shop", "backout.v1").Annotations {
			if errs := validation.IsQualifiedName(name); len(errs) > 0 {
				t.Errorf("the annotation of a release's pause has a valid name: %s: %v", name, errs)
			}
		}
	}
}

func TestPauseRefusesAScopeWithoutNamespace(t *testing.T) {
	nowhere := ledger.New(ledger.Options{Client: fake.NewClientset()})
	for s, want := range map[ledger.Scope]string{
		{Release: "web"}: "NAMESPACE/RELEASE",
		{}:               "backout's own namespace",
	} {
		if err := nowhere.Pause(t.Context(), s, "by ann"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("pause %v: the error says how to fix it: want %q, got %v", s, want, err)
		}
		if _, err := nowhere.Resume(t.Context(), s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("resume %v: the error says how to fix it: want %q, got %v", s, want, err)
		}
	}
	if got, err := nowhere.Paused(t.Context(), key()); got != "" || err != nil {
		t.Errorf("without a namespace of its own, backout finds no pause of everything: got %q, %v", got, err)
	}
}

// TestTwoOperatorsPauseAtTheSameTime: another operator creates the ConfigMap between our
// patch and our create.
func TestTwoOperatorsPauseAtTheSameTime(t *testing.T) {
	client := fake.NewClientset()
	var once atomic.Bool
	client.PrependReactor("create", "configmaps", func(clienttesting.Action) (bool, runtime.Object, error) {
		if once.CompareAndSwap(false, true) {
			return true, nil, errors.Join(client.Tracker().Add(annotated("shop", map[string]string{"backout.dev/paused.web": "by ann"})),
				apierrors.NewAlreadyExists(schema.GroupResource{Resource: "configmaps"}, "backout.v1"))
		}
		return false, nil, nil
	})
	l := newLedger(client)
	if err := l.Pause(t.Context(), ledger.Scope{Namespace: "shop"}, "by bob"); err != nil {
		t.Fatal(err)
	}
	if got, err := l.Paused(t.Context(), key()); err != nil || got != "namespace shop is paused: by bob; release shop/web is paused: by ann" {
		t.Errorf("of two pauses made at the same time, none is lost: got %q, %v", got, err)
	}
}

func TestPauseErrorsSayWhatToAllow(t *testing.T) {
	maps := schema.GroupResource{Resource: "configmaps"}
	forbidden := apierrors.NewForbidden(maps, "backout.v1", errors.New("no role"))
	for _, c := range []struct {
		name, verb, namespace, hint string
		answer                      error
		call                        func(context.Context, *ledger.Ledger) error
	}{
		{"read backout's own namespace", "get", "backout", "get ConfigMap backout.v1 in namespace backout", forbidden, paused},
		{"read the release's namespace", "get", "shop", "get ConfigMap backout.v1 in namespace shop", forbidden, paused},
		{"pause", "patch", "shop", "create and patch ConfigMaps in namespace shop", forbidden, pause},
		{"pause, no ConfigMap", "create", "shop", "create and patch ConfigMaps in namespace shop", forbidden, pause},
		{"pause, no such namespace", "create", "shop", "is namespace shop misspelt", apierrors.NewNotFound(schema.GroupResource{Resource: "namespaces"}, "shop"), pause},
		{"resume", "get", "shop", "get ConfigMap", forbidden, resume},
	} {
		client := fake.NewClientset()
		client.PrependReactor(c.verb, "configmaps", func(a clienttesting.Action) (bool, runtime.Object, error) {
			return a.GetNamespace() == c.namespace, nil, c.answer
		})
		err := c.call(t.Context(), newLedger(client))
		if err == nil || !strings.Contains(err.Error(), c.hint) {
			t.Errorf("%s: the error says what to allow: want %q, got %v", c.name, c.hint, err)
		}
	}
	client := fake.NewClientset(annotated("shop", map[string]string{"backout.dev/paused": "by ann"}))
	client.PrependReactor("get", "configmaps", func(a clienttesting.Action) (bool, runtime.Object, error) {
		return a.GetNamespace() == "backout", nil, forbidden
	})
	if got, err := newLedger(client).Paused(t.Context(), key()); got != "namespace shop is paused: by ann" || err != nil {
		t.Errorf("a known pause is returned, even if the other ConfigMap cannot be read: got %q, %v", got, err)
	}
}

func paused(ctx context.Context, l *ledger.Ledger) error {
	_, err := l.Paused(ctx, key())
	return err
}

func pause(ctx context.Context, l *ledger.Ledger) error {
	return l.Pause(ctx, ledger.Scope{Namespace: "shop"}, "by ann")
}

func resume(ctx context.Context, l *ledger.Ledger) error {
	_, err := l.Resume(ctx, ledger.Scope{Namespace: "shop"})
	return err
}

// TestPausedReadsBothConfigMapsInParallel: the API server answers no request before both
// have arrived.
func TestPausedReadsBothConfigMapsInParallel(t *testing.T) {
	both := make(chan struct{})
	var arrived atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if arrived.Add(1) == 2 {
			close(both)
		}
		select {
		case <-both:
		case <-q.Context().Done():
		}
		http.NotFound(w, q)
	}))
	defer server.Close()
	client, err := kubernetes.NewForConfig(&rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, err := newLedger(client).Paused(ctx, key()); err != nil {
		t.Errorf("the two ConfigMaps are read in parallel: %v", err)
	}
}

// TestPausedInBackoutsOwnNamespace: all three pauses are stored in one ConfigMap there.
func TestPausedInBackoutsOwnNamespace(t *testing.T) {
	client := fake.NewClientset(annotated("backout", map[string]string{
		"backout.dev/paused-everywhere": "by ann", "backout.dev/paused": "by bob", "backout.dev/paused.web": "by cyd",
	}))
	got, err := newLedger(client, "backout").Paused(t.Context(), rollback.Key{Namespace: "backout", Release: "web"})
	want := "everything is paused: by ann; namespace backout is paused: by bob; release backout/web is paused: by cyd"
	if got != want || err != nil {
		t.Errorf("want %q, got %q, %v", want, got, err)
	}
	if n := len(client.Actions()); n != 1 {
		t.Errorf("the ConfigMap is read once: got %d requests", n)
	}
}
