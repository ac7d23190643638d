package serve_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/upcommerce/backout/handler"
	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/notify"
	"github.com/upcommerce/backout/rollback/notify/slacktest"
	"github.com/upcommerce/backout/rollback/report"
	"github.com/upcommerce/backout/rollback/report/reporttest"
)

// shown is a record that every reader was shown, and what they got.
type shown struct {
	record   rollback.Record
	pages    http.Handler
	registry *prometheus.Registry
	slack    *slacktest.Server
	client   *fake.Clientset
	// alerts are the last ones of each name, events those of the generic webhook.
	alerts map[string]postedAlert
	events []notify.Event
}

// postedAlert is an alert as Alertmanager receives it.
type postedAlert struct {
	Labels, Annotations map[string]string
	EndsAt              time.Time
}

// show shows every reader the record as of now: its last change was a moment ago. It
// returns once every channel has sent what it has to send.
func show(t *testing.T, r rollback.Record) *shown {
	t.Helper()
	rep := report.Of(r, report.Settings{})
	last := rollback.Later(rep.LastChange(), r.Closed)
	s := &shown{
		record:   reporttest.Shift(r, time.Now().Add(-last.Sub(r.Opened))),
		registry: prometheus.NewRegistry(),
		slack:    &slacktest.Server{Token: "xoxb-1", Channels: []string{"C1"}, HookPath: "/hook"},
		alerts:   make(map[string]postedAlert),
	}
	s.openPages(t)
	s.notify(t)
	return s
}

// openPages serves the status page and the metrics of a board with the record.
func (s *shown) openPages(t *testing.T) {
	t.Helper()
	board := report.NewBoard()
	board.SetRecord(s.record)
	s.registry.MustRegister(report.NewCollector(board))
	server, err := handler.New(handler.Options{
		Config: handler.Config{
			Listen: "127.0.0.1:0", OpsListen: "127.0.0.1:0", Auth: handler.AuthNone, OpsAuth: handler.OpsAuthNone,
			MaxBody: 1 << 20, ReadTimeout: 5 * time.Second, StoreTimeout: 8 * time.Second,
		},
		Receiver: noReceiver{}, Reader: memoryLedger{s.record}, Board: board, Registry: prometheus.NewRegistry(),
		Ready: func(context.Context) error { return nil }, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	s.pages = server.OpsHandler()
}

// notify sends the record through every channel.
func (s *shown) notify(t *testing.T) {
	t.Helper()
	s.client = fake.NewClientset(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: s.record.Namespace, Name: s.record.Name(), UID: "r-1"}})
	hosts := hosts{
		"slack.example": s.slack, "am.example": http.HandlerFunc(s.receiveAlerts), "generic.example": http.HandlerFunc(s.receiveEvent),
	}
	n, err := notify.New(notify.Options{
		Config: notify.Config{
			SlackWebhookFile: secretFile(t, "https://slack.example/hook"), SlackTokenFile: secretFile(t, "xoxb-1"), SlackChannel: "C1",
			SlackAPIURL: "https://slack.example/api/", AlertmanagerURLs: []string{"https://am.example"}, WebhookURL: "https://generic.example", Events: true,
		},
		StormWindow: 10 * time.Minute, Ledger: memoryLedger{s.record}, Client: s.client, Manifests: noManifests{}, Instance: "backout-0",
		Registerer: prometheus.NewRegistry(), Transport: hosts, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = n.Run(ctx) })
	n.Notify(s.record)
	time.Sleep(30 * time.Second)
	synctest.Wait()
	cancel()
	running.Wait()
	if refusals := s.slack.Refusals(); len(refusals) > 0 {
		t.Errorf("Slack refuses: %v", refusals)
	}
}

func secretFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func (s *shown) receiveAlerts(w http.ResponseWriter, q *http.Request) {
	var alerts []postedAlert
	if err := json.NewDecoder(q.Body).Decode(&alerts); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	for _, a := range alerts {
		s.alerts[a.Labels["alertname"]] = a
	}
}

func (s *shown) receiveEvent(w http.ResponseWriter, q *http.Request) {
	var e notify.Event
	if err := json.NewDecoder(q.Body).Decode(&e); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.events = append(s.events, e)
}

// firing returns the alerts that fire now.
func (s *shown) firing() []postedAlert {
	var firing []postedAlert
	for _, a := range s.alerts {
		if time.Now().Before(a.EndsAt) {
			firing = append(firing, a)
		}
	}
	return firing
}

// botMessages are the bot's messages outside of threads.
func (s *shown) botMessages() []slacktest.Message {
	return slices.DeleteFunc(s.slack.Messages(), func(m slacktest.Message) bool { return m.ThreadTS != "" })
}

// eventsRequestHelp reports whether a Kubernetes Event is a warning for another reason
// than that backout changes something.
func (s *shown) eventsRequestHelp(t *testing.T) bool {
	t.Helper()
	list, err := s.client.EventsV1().Events(s.record.Namespace).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list.Items {
		changes := e.Reason == report.EntryShed.Reason() || e.Reason == report.EntryRolledBack.Reason()
		if e.Type == corev1.EventTypeWarning && !changes {
			return true
		}
	}
	return false
}

func (s *shown) path() string {
	return "/records/" + s.record.Namespace + "/" + s.record.Release + "/" + strconv.Itoa(s.record.Revision)
}

func (s *shown) get(t *testing.T, path, accept string) string {
	t.Helper()
	q := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, http.NoBody)
	q.Header.Set("Accept", accept)
	w := httptest.NewRecorder()
	s.pages.ServeHTTP(w, q)
	if w.Code != http.StatusOK {
		t.Fatalf("GET %s: %d %s", path, w.Code, w.Body)
	}
	return w.Body.String()
}

func (s *shown) getJSON(t *testing.T, path string, into any) {
	t.Helper()
	if err := json.NewDecoder(strings.NewReader(s.get(t, path, "application/json"))).Decode(into); err != nil {
		t.Fatalf("GET %s: %v", path, err)
	}
}

// hosts is a network in memory.
type hosts map[string]http.Handler

func (h hosts) RoundTrip(q *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	h[q.URL.Hostname()].ServeHTTP(w, q)
	return w.Result(), nil
}

// memoryLedger contains one record, and forgets what is saved.
type memoryLedger struct{ record rollback.Record }

func (l memoryLedger) All(context.Context) ([]rollback.Record, error) {
	return []rollback.Record{l.record}, nil
}

func (l memoryLedger) Records(context.Context, rollback.Key, rollback.Consistency) ([]rollback.Record, error) {
	return []rollback.Record{l.record}, nil
}

func (l memoryLedger) Record(context.Context, rollback.Key, int) (rollback.Record, bool, error) {
	return l.record, true, nil
}

func (memoryLedger) Save(_ context.Context, r rollback.Record) (rollback.Record, error) {
	return r, nil
}

type noReceiver struct{}

func (noReceiver) Accept(context.Context, []rollback.Alert) error { return nil }

type noManifests struct{}

func (noManifests) Manifest(context.Context, rollback.Key, int) (rollback.Manifest, error) {
	return nil, nil
}
