package serve

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
)

// markedLate is an API server that says at the second request about it, and at no other, which
// installation serves namespace shop; payments is marked as served by backout.
func markedLate(t *testing.T, marks *atomic.Int32) *httptest.Server {
	t.Helper()
	return apiServer(t, func(w http.ResponseWriter, _ *http.Request) {
		if marks.Add(1) == 2 {
			answer(w, markedBy("another"))
			return
		}
		w.WriteHeader(http.StatusForbidden)
	})
}

// marked is an API server on which the mark of namespace shop is what it points to; "" means that it has no mark.
func marked(t *testing.T, by *atomic.Pointer[string]) *httptest.Server {
	t.Helper()
	return apiServer(t, func(w http.ResponseWriter, q *http.Request) {
		body, _ := io.ReadAll(q.Body)
		if object, _, err := scheme.Codecs.UniversalDeserializer().Decode(body, nil, nil); q.Method == http.MethodPut && err == nil {
			mark := object.(*corev1.ConfigMap).Annotations[installationMark]
			by.Store(&mark)
		}
		answer(w, markedBy(*by.Load()))
	})
}

func answer(w http.ResponseWriter, object any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(object)
}

// markedBy is the ConfigMap of pauses with the mark of an installation.
func markedBy(installation string) *corev1.ConfigMap {
	cm := &corev1.ConfigMap{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"}, ObjectMeta: metav1.ObjectMeta{Name: "backout.v1"}}
	if installation != "" {
		cm.Annotations = map[string]string{installationMark: installation}
	}
	return cm
}

// apiServer is an API server that lets shop answer requests about the mark of namespace shop;
// payments is marked as served by backout.
func apiServer(t *testing.T, shop http.HandlerFunc) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		switch path := q.URL.Path; {
		case strings.HasSuffix(path, "/namespaces/backout/secrets/backout-record-keys"):
			answer(w, corev1.Secret{Data: map[string][]byte{"current": bytes.Repeat([]byte("k"), 32)}})
		case path == "/version":
			answer(w, map[string]string{"major": "1", "minor": "37"})
		case path == "/api":
			answer(w, metav1.APIVersions{Versions: []string{"v1"}})
		case path == "/apis":
			answer(w, metav1.APIGroupList{})
		case path == "/api/v1":
			answer(w, metav1.APIResourceList{GroupVersion: "v1"})
		case strings.HasSuffix(path, "/namespaces/payments/configmaps/backout.v1"):
			answer(w, markedBy("backout"))
		case strings.HasSuffix(path, "/namespaces/shop/configmaps/backout.v1"):
			shop(w, q)
		default:
			w.WriteHeader(http.StatusForbidden)
		}
	}))
	t.Cleanup(server.Close)
	return server
}

// installationMark is the annotation that names the installation.
const installationMark = "backout.dev/installation"

// freePort returns an address of this machine on which a server can listen.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// served runs backout for shop and payments until stop, which returns its log, reads the marks at that
// interval, and serves a target again after that time. read returns what the ops listener answers.
func served(t *testing.T, api string, every, back time.Duration) (read func(path string) string, stop func() string) {
	t.Helper()
	ops := freePort(t)
	c, err := load(t, map[string]string{
		"BACKOUT_AUTH": "none", "BACKOUT_RELEASES": "shop/*,payments/*", "BACKOUT_LISTEN": freePort(t), "BACKOUT_OPS_LISTEN": ops,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	var log bytes.Buffer
	m := newMarks("backout", c.Policy.Namespaces())
	m.every, m.back = every, back
	ended := make(chan error, 1)
	go func() {
		ended <- serveTargets(ctx, c, Cluster{Config: &rest.Config{Host: api}, Namespace: "backout"}, m, slog.New(slog.NewTextHandler(&log, nil)))
	}()
	read = func(path string) string {
		q, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+ops+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := http.DefaultClient.Do(q)
		if err != nil {
			select {
			case err := <-ended:
				t.Fatalf("the process ended: %v", err)
			default:
			}
			return "no answer: " + err.Error()
		}
		defer func() { _ = answer.Body.Close() }()
		text, _ := io.ReadAll(answer.Body)
		return string(text)
	}
	return read, func() string {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the service ended with %v", err)
		}
		return log.String()
	}
}

// await reads readiness until it is as it should be.
func await(t *testing.T, read func(path string) string, is func(text string) bool) {
	t.Helper()
	for begin := time.Now(); !is(read("/readyz")); time.Sleep(20 * time.Millisecond) {
		if time.Since(begin) > 30*time.Second {
			t.Fatalf("readiness says %q", read("/readyz"))
		}
	}
}

// leftOut reports whether readiness says that shop is left out.
func leftOut(text string) bool {
	return strings.Contains(text, "namespace shop is served by the backout in namespace another")
}

// Another installation that is found after the start costs its target alone: it is no longer
// served, and readiness, a metric and the log say so, also if the API server does not answer when
// the others go on.
func TestATargetOfAnotherInstallationIsLeftOutAfterTheStart(t *testing.T) {
	var marks atomic.Int32
	read, stop := served(t, markedLate(t, &marks).URL, time.Minute, time.Hour)
	await(t, read, leftOut)
	if got := read("/readyz"); strings.Contains(got, "payments") {
		t.Errorf("readiness says %q: the other target is served", got)
	}
	if got := read("/metrics"); !strings.Contains(got, `backout_target_left_out{namespace="shop"} 1`) || !strings.Contains(got, `backout_watchdogs_total{namespace="payments"} 0`) ||
		strings.Contains(got, `backout_watchdogs_total{namespace="shop"}`) {
		t.Errorf("the metrics do not say that shop is left out, and payments served:\n%s", got)
	}
	if got := stop(); strings.Count(got, "a target is left out") != 1 || strings.Count(got, "backout is serving") != 2 {
		t.Errorf("the log says once which target is left out: got %s", got)
	}
}

// A mark that changes while backout runs: the target is left out, and served again once the mark is
// removed or names this backout. The process goes on throughout.
func TestAMarkThatChangesWhileBackoutRunsIsFollowed(t *testing.T) {
	own, foreign, none := "backout", "another", ""
	for name, freed := range map[string]*string{"the mark is removed": &none, "the mark is changed back": &own} {
		t.Run(name, func(t *testing.T) {
			var by atomic.Pointer[string]
			by.Store(&own)
			read, stop := served(t, marked(t, &by).URL, 50*time.Millisecond, time.Millisecond)
			await(t, read, func(text string) bool { return strings.HasPrefix(text, "ok") && !leftOut(text) })
			by.Store(&foreign)
			await(t, read, leftOut)
			if got := *by.Load(); got != foreign {
				t.Errorf("the mark is %q, want it left to the other installation", got)
			}
			by.Store(freed)
			await(t, read, func(text string) bool { return strings.HasPrefix(text, "ok") && !leftOut(text) })
			if got := *by.Load(); got != own {
				t.Errorf("the mark is %q, want backout", got)
			}
			if got := read("/metrics"); strings.Contains(got, "backout_target_left_out{") || !strings.Contains(got, `backout_watchdogs_total{namespace="shop"} 0`) {
				t.Errorf("the metrics do not say that shop is served:\n%s", got)
			}
			got := stop()
			for text, n := range map[string]int{"a target is left out": 1, "a target is served that was left out": 1, "backout is serving": 3} {
				if strings.Count(got, text) != n {
					t.Errorf("the log does not have %d lines %q: got %s", n, text, got)
				}
			}
		})
	}
}

// An editor of one target who writes another name into its mark again and again stops the work on
// the others once, and on that target for as long as it lasts.
func TestAMarkThatKeepsChangingCostsItsTargetAlone(t *testing.T) {
	var reads atomic.Int32
	api := apiServer(t, func(w http.ResponseWriter, _ *http.Request) {
		n := reads.Add(1)
		if n%2 == 1 {
			answer(w, markedBy("backout"))
			return
		}
		answer(w, markedBy(fmt.Sprintf("another-%d", n)))
	})
	read, stop := served(t, api.URL, 50*time.Millisecond, time.Hour)
	await(t, read, func(text string) bool {
		return strings.Contains(text, "namespace shop is served by the backout in namespace another-")
	})
	for seen := reads.Load(); reads.Load() < seen+10; time.Sleep(10 * time.Millisecond) {
		if got := read("/metrics"); !strings.Contains(got, `backout_watchdogs_total{namespace="payments"} 0`) {
			t.Fatalf("the other target is served throughout: got\n%s", got)
		}
	}
	if got := stop(); strings.Count(got, "backout is serving") > 2 {
		t.Errorf("the service began more than twice: %s", got)
	}
}
