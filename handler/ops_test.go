package handler_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/upcommerce/backout/handler"
	"github.com/upcommerce/backout/rollback"
)

func get(h http.Handler, path string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	return w
}

func TestHealthAndReadiness(t *testing.T) {
	broken := errors.New("the API server does not answer")
	for _, c := range []struct {
		rule, path string
		ready      error
		want       int
		body       string
	}{
		{"a process that answers is healthy", "/healthz", nil, http.StatusOK, "ok"},
		{"health does not depend on the API server: a restart would not help", "/healthz", broken, http.StatusOK, "ok"},
		{"a replica that can work is ready", "/readyz", nil, http.StatusOK, "ok"},
		{"a replica that cannot work says why", "/readyz", broken, http.StatusServiceUnavailable, "the API server does not answer"},
	} {
		s, _ := newServer(t, func(o *handler.Options) { o.Ready = func(context.Context) error { return c.ready } })
		if w := get(s.OpsHandler(), c.path); w.Code != c.want || !strings.Contains(w.Body.String(), c.body) {
			t.Errorf("%s: %s is answered %d %q, got %d %q", c.rule, c.path, c.want, c.body, w.Code, w.Body)
		}
	}
}

// A receiver that cannot confirm alerts still sheds: if it were not ready, it would get no
// alerts.
func TestAReadyReplicaSaysWhatItCannotDo(t *testing.T) {
	const problem = "Prometheus prometheus-0:9090 cannot confirm alerts: it has <no> rule"
	s, _ := newServer(t, func(o *handler.Options) { o.Problems = func() []string { return []string{problem} } })
	if w := get(s.OpsHandler(), "/readyz"); w.Code != http.StatusOK || w.Body.String() != "ok\ndegraded: "+problem+"\n" {
		t.Errorf("/readyz says what a ready replica cannot do: got %d %q", w.Code, w.Body)
	}
	if page := get(s.OpsHandler(), "/").Body.String(); !strings.Contains(page, "Prometheus prometheus-0:9090 cannot confirm alerts: it has &lt;no&gt; rule.") {
		t.Error("the status page says what backout cannot do, as text")
	}
}

func TestReadinessCheckIsLimited(t *testing.T) {
	s, _ := newServer(t, func(o *handler.Options) {
		o.Ready = func(ctx context.Context) error {
			if deadline, ok := ctx.Deadline(); !ok || time.Until(deadline) > 3*time.Second {
				t.Error("the check behind /readyz ends before the kubelet's probe does")
			}
			return nil
		}
	})
	get(s.OpsHandler(), "/readyz")
}

func TestEveryAnswerIsCounted(t *testing.T) {
	s, _ := newServer(t, nil)
	post(s.Handler(), payload())
	post(s.Handler(), "no")
	body := get(s.OpsHandler(), "/metrics").Body.String()
	for _, want := range []string{
		`backout_webhook_requests_total{code="200"} 1`, `backout_webhook_requests_total{code="400"} 1`,
		`backout_webhook_requests_total{code="401"} 0`, `backout_webhook_requests_total{code="404"} 0`,
		`backout_webhook_requests_total{code="405"} 0`, `backout_webhook_requests_total{code="413"} 0`,
		`backout_webhook_requests_total{code="500"} 0`, `backout_webhook_requests_total{code="503"} 0`,
		`backout_webhook_duration_seconds_count 2`,
	} {
		if !strings.Contains(body, want+"\n") {
			t.Errorf("every answer is counted, and every series exists from the start: %s is missing", want)
		}
	}
}

func TestRecordsAreServedAsJSON(t *testing.T) {
	record := func(namespace, release string, revision int) rollback.Record {
		return rollback.Record{
			Key: rollback.Key{Namespace: namespace, Release: release}, Revision: revision, UID: "u",
			Decisions: []rollback.Decision{{Verdict: rollback.Act, Reason: "an alert fires"}}, Version: "not for readers",
		}
	}
	s, _ := newServer(t, func(o *handler.Options) {
		o.Reader = records{all: []rollback.Record{record("shop", "web", 5), record("shop", "api", 2), record("shop", "web", 3)}}
	})
	for _, c := range []struct {
		path string
		want []int
	}{
		{"/api/v1/records", []int{5, 2, 3}},
		{"/api/v1/records/shop/web", []int{5, 3}},
		{"/api/v1/records/shop/nothing", []int{}},
	} {
		w := get(s.OpsHandler(), c.path)
		var got struct{ Records []struct{ Revision int } }
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != http.StatusOK || got.Records == nil {
			t.Errorf("%s is a list, even if it is empty: %d %v %s", c.path, w.Code, err, w.Body)
			continue
		}
		if len(got.Records) != len(c.want) {
			t.Errorf("%s shows revisions %v: got %v", c.path, c.want, got.Records)
			continue
		}
		for i, r := range got.Records {
			if r.Revision != c.want[i] {
				t.Errorf("%s shows revisions %v: got %v", c.path, c.want, got.Records)
			}
		}
	}
	w := get(s.OpsHandler(), "/api/v1/records/shop/web/3")
	for _, want := range []string{`"namespace": "shop"`, `"release": "web"`, `"revision": 3`, `"verdict": "act"`} {
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("a record is shown as it is stored: %s is missing in %s", want, w.Body)
		}
	}
	if strings.Contains(w.Body.String(), "not for readers") {
		t.Error("the version of the ConfigMap is not shown")
	}
	for _, path := range []string{
		"/api/v1/records/shop/web/4", "/api/v1/records/shop/web/03", "/api/v1/records/shop/web/x",
		"/api/v1/records/other/web/3", "/api/v1/records/shop", "/api/v1/records/shop/web/3/more", "/other",
	} {
		if w := get(s.OpsHandler(), path); w.Code != http.StatusNotFound {
			t.Errorf("%s is answered 404: got %d", path, w.Code)
		}
	}
}

func TestRecordsThatCannotBeReadAreAnswered503(t *testing.T) {
	s, _ := newServer(t, func(o *handler.Options) { o.Reader = records{err: errors.New("forbidden: secret detail")} })
	for _, path := range []string{"/api/v1/records", "/api/v1/records/shop/web", "/api/v1/records/shop/web/3"} {
		w := get(s.OpsHandler(), path)
		if w.Code != http.StatusServiceUnavailable || strings.Contains(w.Body.String(), "secret detail") {
			t.Errorf("%s is answered 503, and the cause is only in the log: got %d %s", path, w.Code, w.Body)
		}
	}
}
