package serve

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/report"
)

// `kubectl get configmap -o yaml` shows a record in one line.
func TestARecordIsStoredWithItsSummary(t *testing.T) {
	stored := make(chan string, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if strings.HasSuffix(q.URL.Path, "/namespaces/backout/secrets/backout-record-keys") {
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(corev1.Secret{Data: map[string][]byte{"current": bytes.Repeat([]byte("k"), 32)}})
			return
		}
		if q.Method == http.MethodPost {
			body, _ := io.ReadAll(q.Body)
			stored <- string(body)
		}
		w.WriteHeader(http.StatusForbidden)
	}))
	defer server.Close()
	c, err := load(t, map[string]string{"BACKOUT_AUTH": "none", "BACKOUT_RELEASES": "shop/*"})
	if err != nil {
		t.Fatal(err)
	}
	s, err := newService(c, Cluster{Config: &rest.Config{Host: server.URL}, Namespace: "backout"}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.keys.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	record := rollback.NewRecord(rollback.Key{Namespace: "shop", Release: "web"}, rollback.Revision{Number: 2, UID: "a"}, nil, time.Now())
	record.Decide(rollback.Decision{Verdict: rollback.Act, Reason: "the canary is bad"})
	if _, err := s.records.Save(t.Context(), record); err == nil {
		t.Error("the API server refused the record, and Save returned no error")
	}
	select {
	case body := <-stored:
		if want := report.Summary(&record); !strings.Contains(body, want) {
			t.Errorf("the ConfigMap has no summary %q:\n%s", want, body)
		}
	default:
		t.Error("no ConfigMap was created")
	}
}
