package cli

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/upcommerce/backout/internal/serve"
	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/report"
)

// A command writes a record as the service does, and knows who the operator is.
func TestACommandStoresTheOperatorAndASummary(t *testing.T) {
	stored := make(chan string, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if strings.HasSuffix(q.URL.Path, "/selfsubjectreviews") {
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, `{"kind":"SelfSubjectReview","apiVersion":"authentication.k8s.io/v1","status":{"userInfo":{"username":"jane"}}}`)
			return
		}
		if q.Method == http.MethodPost {
			body, _ := io.ReadAll(q.Body)
			stored <- string(body)
		}
		w.WriteHeader(http.StatusForbidden)
	}))
	defer server.Close()
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	text := "apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts:\n- {name: c, context: {cluster: c, user: u}}\n" +
		"clusters:\n- {name: c, cluster: {server: \"" + server.URL + "\"}}\nusers:\n- {name: u, user: {}}\n"
	if err := os.WriteFile(kubeconfig, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	m, err := newManual(t.Context(), serve.Access{Kubeconfig: kubeconfig, HelmDrivers: []string{"secret"}}, "")
	if err != nil {
		t.Fatal(err)
	}
	if m.Operator != "jane" {
		t.Errorf("the operator is %q, want the name that the API server knows, jane", m.Operator)
	}
	record := rollback.NewRecord(rollback.Key{Namespace: "shop", Release: "web"}, rollback.Revision{Number: 2, UID: "a"}, nil, time.Now())
	record.Decide(rollback.Decision{Verdict: rollback.Act, Reason: "load test"})
	if _, err := m.ledger.Save(t.Context(), record); err == nil {
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
