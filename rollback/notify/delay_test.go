package notify

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/engine"
)

// shop is a release, its router and its ledger in memory, for the real engine. Its one
// fact worth knowing: it logs when the weight was written and when Helm wrote.
type shop struct {
	*memoryLedger

	mu      sync.Mutex
	history rollback.History
	weight  string
	writes  []string
	begin   time.Time
}

// logWrite is called with the lock held.
func (s *shop) logWrite(what string) {
	s.writes = append(s.writes, fmt.Sprintf("%s +%s", what, time.Since(s.begin)))
}

func (s *shop) logged() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.writes)
}

func (s *shop) History(_ context.Context, _ rollback.Key, c rollback.Consistency) (rollback.History, error) {
	if c == rollback.Cached {
		return nil, rollback.ErrNotCached
	}
	time.Sleep(3 * time.Millisecond)
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.history), nil
}

func (s *shop) EnsureNewest(_ context.Context, _ rollback.Key, r rollback.Revision) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.history[0].UID != r.UID {
		return rollback.ErrRevisionChanged
	}
	return nil
}

func (s *shop) Manifest(context.Context, rollback.Key, int) (rollback.Manifest, error) {
	return nil, nil
}

func (s *shop) Preflight(context.Context, rollback.Plan) (rollback.PreflightResult, error) {
	return rollback.PreflightResult{}, nil
}

func (s *shop) RollBack(_ context.Context, p rollback.Plan) (int, error) {
	time.Sleep(400 * time.Millisecond)
	s.mu.Lock()
	defer s.mu.Unlock()
	target, _ := s.history.Named(p.Target)
	target.Number, target.UID, target.Claim, target.Deployed = s.history[0].Number+1, "uid-made", p.Suspect.UID, time.Now()
	target.Status = rollback.StatusDeployed
	s.history = slices.Insert(s.history, 0, target)
	s.logWrite("rolled back")
	return target.Number, nil
}

func (s *shop) Differences(context.Context, rollback.Plan) ([]string, error) { return nil, nil }

func (s *shop) Recover(context.Context, rollback.Key, rollback.Revision) error { return nil }

func (s *shop) Ready(context.Context, rollback.Key, int) (bool, string, error) { return true, "", nil }

func (s *shop) Observe(context.Context, rollback.Key, rollback.Manifest, rollback.Consistency) (rollback.Routing, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return rollback.Routing{Load: 1, Weights: []rollback.Weight{{Kind: "Ingress", Name: "web-canary", From: s.weight, To: s.weight}}}, nil
}

func (s *shop) ReadyStable(ctx context.Context, k rollback.Key, revision int) (bool, string, error) {
	return s.Ready(ctx, k, revision)
}

func (s *shop) set(to string) []rollback.Weight {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := rollback.Weight{Kind: "Ingress", Name: "web-canary", From: s.weight, To: to}
	if s.weight != to {
		s.logWrite("weight " + to)
	}
	s.weight = to
	return []rollback.Weight{w}
}

func (s *shop) Shed(ctx context.Context, _ rollback.Key, _ rollback.Manifest, _ rollback.Observation, p rollback.Precondition) ([]rollback.Weight, error) {
	time.Sleep(2 * time.Millisecond)
	if err := p(ctx); err != nil {
		return nil, err
	}
	return s.set("0"), nil
}

func (s *shop) Hold(context.Context, rollback.Key, rollback.Manifest) (func(rollback.Object), error) {
	return func(rollback.Object) {}, nil
}

func (s *shop) HoldTarget(ctx context.Context, k rollback.Key, m rollback.Manifest) (func(rollback.Object), error) {
	return s.Hold(ctx, k, m)
}

func (s *shop) Restore(ctx context.Context, _ rollback.Key, _ rollback.Manifest, p rollback.Precondition) ([]rollback.Weight, error) {
	if err := p(ctx); err != nil {
		return nil, err
	}
	return s.set("20"), nil
}

func (s *shop) Watch(context.Context, string, string, func()) func() bool {
	return func() bool { return false }
}

func (s *shop) Unmark(context.Context, rollback.Key, rollback.Manifest) error { return nil }

func (s *shop) RestoreHeld(ctx context.Context, k rollback.Key, m rollback.Manifest, p rollback.Precondition) ([]rollback.Weight, error) {
	return s.Restore(ctx, k, m, p)
}

func (s *shop) Held(context.Context, rollback.Key, rollback.Manifest) (bool, error) { return true, nil }

func (s *shop) Records(ctx context.Context, k rollback.Key, c rollback.Consistency) ([]rollback.Record, error) {
	if c == rollback.Cached {
		return nil, rollback.ErrNotCached
	}
	return s.memoryLedger.Records(ctx, k, c)
}

func (s *shop) RecordsSince(ctx context.Context, saved rollback.Record) ([]rollback.Record, error) {
	return s.Records(ctx, saved.Key, rollback.Stored)
}

func (s *shop) Record(ctx context.Context, k rollback.Key, revision int) (rollback.Record, bool, error) {
	records, err := s.Records(ctx, k, rollback.Stored)
	i := slices.IndexFunc(records, func(r rollback.Record) bool { return r.Revision == revision })
	if err != nil || i < 0 {
		return rollback.Record{}, false, err
	}
	return records[i], true, nil
}

func (s *shop) Open(context.Context) ([]rollback.Key, error) { return nil, nil }

func (s *shop) Delete(context.Context, rollback.Record) error { return nil }

func (s *shop) Paused(context.Context, rollback.Key) (string, error) { return "", nil }

func shopPolicy() rollback.Policy {
	return rollback.Policy{
		Releases: []string{"shop/*"}, Mode: rollback.ModeAct, Settle: 7 * time.Minute,
		Cooldown: 10 * time.Minute, Bake: 24 * time.Hour, OperationLimit: time.Hour, RollbackTimeout: 5 * time.Minute,
		ConfirmLimit: 2 * time.Minute, Repeat: 6 * time.Minute, StormReleases: 5, StormWindow: 10 * time.Minute, MaxLoad: 2,
		Verify: 2 * time.Minute, VerifyLimit: 10 * time.Minute, TrafficFloor: 0.1, KeepRecords: 10, KeepRecordsFor: 90 * 24 * time.Hour,
	}
}

// rollBackWhileNotifying has the real engine roll a canary back while a Notifier uses
// the channels of c on these hosts. It returns what was written, and when.
func rollBackWhileNotifying(t *testing.T, c Config, hosts *network) []string {
	t.Helper()
	s := &shop{
		memoryLedger: &memoryLedger{}, weight: "20", begin: time.Now(),
		history: rollback.History{
			{Number: 7, UID: "uid-7", Status: rollback.StatusDeployed, Deployed: time.Now().Add(-time.Minute), Content: "c7", Versions: []string{"v3"}, Chart: "web"},
			{Number: 5, UID: "uid-5", Status: rollback.StatusSuperseded, Deployed: time.Now().Add(-time.Hour), Content: "c5", Versions: []string{"v2"}, Chart: "web"},
		},
	}
	n := newTestNotifier(t, c, hosts, s.memoryLedger)
	n.start(t)
	e, err := engine.New(engine.Options{
		Releases: s, Traffic: s, Ledger: s, Policy: shopPolicy(), Notifier: n, Registerer: prometheus.NewRegistry(), Log: n.Notifier.log,
	})
	if err != nil {
		t.Fatal(err)
	}
	s.memoryLedger.notify(func(r rollback.Record) { // as a watch does, a moment later
		time.AfterFunc(5100*time.Microsecond, func() { e.OnRecord(r) })
	})
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = e.Run(ctx) })
	defer running.Wait()
	defer cancel()
	time.Sleep(time.Second)
	s.mu.Lock()
	s.begin = time.Now()
	s.mu.Unlock()
	err = e.Accept(t.Context(), []rollback.Alert{{
		Labels:      map[string]string{"alertname": "CanaryErrorRatio", "backout": "rollback", "namespace": "shop", "release": "web", "version": "v3"},
		Annotations: map[string]string{"summary": "half of the requests fail"}, Fingerprint: "e1", StartsAt: time.Now().Add(-10 * time.Second),
	}})
	if err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	s.logWrite("answered")
	s.mu.Unlock()
	time.Sleep(20 * time.Minute)
	return s.logged()
}

// TestSlowOrDeadChannelsDelayNothing: safety rule 8. With the clock of the bubble, the
// real engine writes at the same nanosecond whatever the channels do.
func TestSlowOrDeadChannelsDelayNothing(t *testing.T) {
	c := func(t *testing.T) Config {
		return Config{
			SlackWebhookFile: file(t, hookURL), SlackTokenFile: file(t, botToken), SlackChannel: "C1",
			WebhookURL: "https://generic.example", AlertmanagerURLs: []string{"https://am.example"},
		}
	}
	names := []string{"hooks.example", "slack.example", "generic.example", "am.example"}
	var want []string
	synctest.Test(t, func(t *testing.T) { want = rollBackWhileNotifying(t, Config{}, &network{}) })
	if len(want) != 4 || !strings.HasPrefix(want[1], "weight 0 +") {
		t.Fatalf("without channels: %v", want)
	}
	for name, hosts := range map[string]*network{
		"slow": {},
		"dead": {dead: map[string]bool{names[0]: true, names[1]: true, names[2]: true, names[3]: true}},
		"good": func() *network {
			slack := fakeSlack()
			fine := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
			return &network{hosts: map[string]http.Handler{names[0]: slack, names[1]: slack, names[2]: fine, names[3]: &fakeAlertmanager{}}}
		}(),
	} {
		synctest.Test(t, func(t *testing.T) {
			if got := rollBackWhileNotifying(t, c(t), hosts); !slices.Equal(got, want) {
				t.Errorf("with %s channels: %v\nwithout: %v", name, got, want)
			}
		})
	}
}
