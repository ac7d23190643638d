package serve

import (
	"bytes"
	"context"
	"encoding/json"
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
	"k8s.io/client-go/rest"
)

// markedLate is an API server that says at the second request about it, and at no other, which
// installation serves namespace shop; payments is marked as served by backout.
func markedLate(t *testing.T, marks *atomic.Int32) *httptest.Server {
	t.Helper()
	answer := func(w http.ResponseWriter, object any) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(object)
	}
	mark := func(installation string) *corev1.ConfigMap {
		return &corev1.ConfigMap{
			TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"},
			ObjectMeta: metav1.ObjectMeta{Name: "backout.v1", Annotations: map[string]string{installationMark: installation}},
		}
	}
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
			answer(w, mark("backout"))
		case strings.HasSuffix(path, "/namespaces/shop/configmaps/backout.v1") && marks.Add(1) == 2:
			answer(w, mark("another"))
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

// Another installation that is found after the start costs its target alone: it is no longer
// served, and readiness, a metric and the log say so, also if the API server does not answer when
// the others go on.
func TestATargetOfAnotherInstallationIsLeftOutAfterTheStart(t *testing.T) {
	var marks atomic.Int32
	api, ops := markedLate(t, &marks), freePort(t)
	c, err := load(t, map[string]string{
		"BACKOUT_AUTH": "none", "BACKOUT_RELEASES": "shop/*,payments/*", "BACKOUT_LISTEN": freePort(t), "BACKOUT_OPS_LISTEN": ops,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var log bytes.Buffer
	ended := make(chan error, 1)
	go func() {
		ended <- serveTargets(ctx, c, Cluster{Config: &rest.Config{Host: api.URL}, Namespace: "backout"}, slog.New(slog.NewTextHandler(&log, nil)))
	}()
	get := func(path string) string {
		q, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+ops+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := http.DefaultClient.Do(q)
		if err != nil {
			return err.Error()
		}
		defer func() { _ = answer.Body.Close() }()
		text, _ := io.ReadAll(answer.Body)
		return string(text)
	}
	const want = "namespace shop is served by the backout in namespace another"
	for begin := time.Now(); !strings.Contains(get("/readyz"), want); time.Sleep(20 * time.Millisecond) {
		select {
		case err := <-ended:
			t.Fatalf("the process ended: %v", err)
		default:
		}
		if time.Since(begin) > 30*time.Second {
			t.Fatalf("readiness says %q, want %q", get("/readyz"), want)
		}
	}
	if got := get("/readyz"); strings.Contains(got, "payments") {
		t.Errorf("readiness says %q: the other target is served", got)
	}
	if got := get("/metrics"); !strings.Contains(got, `backout_target_left_out{namespace="shop"} 1`) || !strings.Contains(got, `backout_watchdogs_total{namespace="payments"} 0`) ||
		strings.Contains(got, `backout_watchdogs_total{namespace="shop"}`) {
		t.Errorf("the metrics do not say that shop is left out, and payments served:\n%s", got)
	}
	stop()
	if err := <-ended; err != nil {
		t.Errorf("the service ended with %v", err)
	}
	if got := log.String(); strings.Count(got, "a target is left out") != 1 || strings.Count(got, "backout is serving") != 2 {
		t.Errorf("the log says once which target is left out: got %s", got)
	}
}
