package notify

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/notify/slacktest"
	"github.com/upcommerce/backout/rollback/report"
	"github.com/upcommerce/backout/rollback/report/reporttest"
)

// memoryLedger is a ledger in memory. Its one fact worth knowing: a Save that does not
// build on the newest version gets ErrConflict.
type memoryLedger struct {
	mu       sync.Mutex
	records  []rollback.Record
	version  int
	conflict int
	saves    int
	// refusal is the answer to every Save.
	refusal error
	// saved is called with each saved record, as Follow does.
	saved func(rollback.Record)
}

func (l *memoryLedger) Records(ctx context.Context, k rollback.Key, _ rollback.Consistency) ([]rollback.Record, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var records []rollback.Record
	for _, r := range l.records {
		if r.Key == k {
			records = append(records, stored(r))
		}
	}
	return records, ctx.Err()
}

// stored is the record as it is read from where it is stored: it shares no memory.
func stored(r rollback.Record) rollback.Record {
	text, err := json.Marshal(r)
	var read rollback.Record
	if err == nil {
		err = json.Unmarshal(text, &read)
	}
	if err != nil {
		panic(err)
	}
	read.Version = r.Version
	return read
}

func (l *memoryLedger) Save(ctx context.Context, r rollback.Record) (rollback.Record, error) {
	if err := ctx.Err(); err != nil {
		return r, err
	}
	l.mu.Lock()
	if l.refusal != nil {
		defer l.mu.Unlock()
		return r, l.refusal
	}
	if l.conflict > 0 {
		l.conflict--
		l.mu.Unlock()
		return r, rollback.ErrConflict
	}
	i := slices.IndexFunc(l.records, func(o rollback.Record) bool { return o.Key == r.Key && o.Revision == r.Revision })
	if i >= 0 && l.records[i].Version != r.Version {
		l.mu.Unlock()
		return r, rollback.ErrConflict
	}
	l.version++
	l.saves++
	r.Version = strconv.Itoa(l.version)
	if i < 0 {
		l.records = append(l.records, stored(r))
	} else {
		l.records[i] = stored(r)
	}
	saved := l.saved
	l.mu.Unlock()
	if saved != nil {
		saved(stored(r))
	}
	return r, nil
}

// put stores r as the engine does, whatever was sent meanwhile.
func (l *memoryLedger) put(t *testing.T, r rollback.Record) {
	t.Helper()
	l.mu.Lock()
	for _, o := range l.records {
		if o.Key == r.Key && o.Revision == r.Revision {
			r.Version, r.Notified = o.Version, o.Notified
		}
	}
	conflict := l.conflict
	l.conflict = 0
	l.mu.Unlock()
	if _, err := l.Save(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	l.mu.Lock()
	l.conflict = conflict
	l.mu.Unlock()
}

func (l *memoryLedger) record(k rollback.Key) rollback.Record {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.records {
		if r.Key == k {
			return r
		}
	}
	return rollback.Record{}
}

func (l *memoryLedger) notify(saved func(rollback.Record)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.saved = saved
}

// network is a network in memory: hosts with handlers. A host without one never
// answers; a dead host refuses connections.
type network struct {
	hosts map[string]http.Handler
	dead  map[string]bool
}

func (n *network) RoundTrip(q *http.Request) (*http.Response, error) {
	host := q.URL.Hostname()
	if n.dead[host] {
		return nil, errors.New("connection refused")
	}
	h, ok := n.hosts[host]
	if !ok {
		<-q.Context().Done()
		return nil, q.Context().Err()
	}
	answer := httptest.NewRecorder()
	if q.Body == nil {
		q.Body = http.NoBody
	}
	h.ServeHTTP(answer, q)
	return answer.Result(), nil
}

const (
	botToken = "xoxb-very-secret"
	hookPath = "/services/T000/B000/very-secret"
	hookURL  = "https://hooks.example" + hookPath
)

func fakeSlack() *slacktest.Server {
	return &slacktest.Server{Token: botToken, Channels: []string{"C1"}, HookPath: hookPath}
}

// slackHosts is a network with Slack.
func slackHosts(slack http.Handler) *network {
	return &network{hosts: map[string]http.Handler{"hooks.example": slack, "slack.example": slack}}
}

func file(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(text+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// testNotifier is a Notifier with the parts that it works with.
type testNotifier struct {
	*Notifier
	ledger   *memoryLedger
	registry *prometheus.Registry
	log      *bytes.Buffer
}

func newTestNotifier(t *testing.T, c Config, hosts *network, l *memoryLedger, changes ...func(*Options)) *testNotifier {
	t.Helper()
	n := &testNotifier{ledger: l, registry: prometheus.NewRegistry(), log: new(bytes.Buffer)}
	c.SlackAPIURL = "https://slack.example/api"
	o := Options{
		Config: c, Cluster: "blue", StormWindow: 10 * time.Minute, Ledger: l, Registerer: n.registry, Transport: hosts,
		Log: slog.New(slog.NewTextHandler(&lockedBuffer{Buffer: n.log}, nil)),
	}
	for _, change := range changes {
		change(&o)
	}
	notifier, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	n.Notifier = notifier
	l.notify(notifier.Notify)
	return n
}

type lockedBuffer struct {
	mu sync.Mutex
	*bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.Write(p)
}

// start runs the notifier until stop is called or the test ends.
func (n *testNotifier) start(t *testing.T) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var done sync.WaitGroup
	done.Go(func() {
		if err := n.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	stop = sync.OnceFunc(func() { cancel(); done.Wait() })
	t.Cleanup(stop)
	return stop
}

func (n *testNotifier) count(t *testing.T, channel, result string) float64 {
	t.Helper()
	return testutil.ToFloat64(n.metrics.notifications.WithLabelValues(channel, result))
}

func webhookOnly(t *testing.T) Config { return Config{SlackWebhookFile: file(t, hookURL)} }

func botOnly(t *testing.T) Config {
	return Config{SlackTokenFile: file(t, botToken), SlackChannel: "C1"}
}

// actingSince is a record of a rollback that was opened at that time.
func actingSince(opened time.Time, changes ...reporttest.Change) rollback.Record {
	return reporttest.Shift(reporttest.Record(reporttest.Act(), changes...), opened)
}

func recovered() reporttest.Change {
	return reporttest.Verified(rollback.OutcomeRecovered, "the alert is quiet")
}

func settings() report.Settings {
	return report.Settings{Cluster: "blue", Dashboard: "https://grafana.example/d/backout?orgId=1"}
}
