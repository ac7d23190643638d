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
)

// shop is a release, its router and its ledger in memory, for the real engine. Its
// one fact worth knowing: it notes when the weight was written and when Helm wrote.
type shop struct {
	*book

	mu      sync.Mutex
	history rollback.History
	weight  string
	moments []string
	begin   time.Time
}

func (s *shop) note(what string) {
	s.moments = append(s.moments, fmt.Sprintf("%s +%s", what, time.Since(s.begin)))
}

func (s *shop) seen() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.moments)
}

func (s *shop) History(context.Context, rollback.Key) (rollback.History, error) {
	time.Sleep(3 * time.Millisecond)
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.history), nil
}

// HistoryAtHand knows nothing.
func (*shop) HistoryAtHand(rollback.Key) (rollback.History, bool) { return nil, false }

func (s *shop) Newest(_ context.Context, _ rollback.Key, r rollback.Revision) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.history[0].UID != r.UID {
		return rollback.ErrMoved
	}
	return nil
}

func (s *shop) Manifest(context.Context, rollback.Key, int) (rollback.Manifest, error) {
	return nil, nil
}

func (s *shop) Check(context.Context, rollback.Plan) (rollback.Outlook, error) {
	return rollback.Outlook{}, nil
}

func (s *shop) RollBack(_ context.Context, p rollback.Plan) (int, error) {
	time.Sleep(400 * time.Millisecond)
	s.mu.Lock()
	defer s.mu.Unlock()
	target, _ := s.history.Named(p.Target)
	target.Number, target.UID, target.Claim, target.Deployed = s.history[0].Number+1, "uid-made", p.Accused.UID, time.Now()
	target.Status = rollback.StatusDeployed
	s.history = slices.Insert(s.history, 0, target)
	s.note("rolled back")
	return target.Number, nil
}

func (s *shop) Recover(context.Context, rollback.Key, rollback.Revision) error { return nil }

func (s *shop) Ready(context.Context, rollback.Key, int) (bool, string, error) { return true, "", nil }

func (s *shop) Glance(ctx context.Context, k rollback.Key, m rollback.Manifest) (rollback.Routing, error) {
	return s.Look(ctx, k, m)
}

func (s *shop) Look(context.Context, rollback.Key, rollback.Manifest) (rollback.Routing, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return rollback.Routing{Load: 1, Weights: []rollback.Weight{{Kind: "Ingress", Name: "web-canary", From: s.weight, To: s.weight}}}, nil
}

func (s *shop) set(to string) []rollback.Weight {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := rollback.Weight{Kind: "Ingress", Name: "web-canary", From: s.weight, To: to}
	if s.weight != to {
		s.note("weight " + to)
	}
	s.weight = to
	return []rollback.Weight{w}
}

func (s *shop) ShedSeen(ctx context.Context, k rollback.Key, _ rollback.Routing, still func(context.Context) error) ([]rollback.Weight, error) {
	return s.Shed(ctx, k, nil, still)
}

func (s *shop) Shed(ctx context.Context, _ rollback.Key, _ rollback.Manifest, still func(context.Context) error) ([]rollback.Weight, error) {
	time.Sleep(2 * time.Millisecond)
	if err := still(ctx); err != nil {
		return nil, err
	}
	return s.set("0"), nil
}

func (s *shop) Hold(context.Context, rollback.Key, rollback.Manifest) (func(rollback.Object), error) {
	return func(rollback.Object) {}, nil
}

func (s *shop) Raise(ctx context.Context, _ rollback.Key, _ rollback.Manifest, still func(context.Context) error) ([]rollback.Weight, error) {
	if err := still(ctx); err != nil {
		return nil, err
	}
	return s.set("20"), nil
}

// RecordsAtHand knows nothing.
func (*shop) RecordsAtHand(rollback.Key) ([]rollback.Record, bool) { return nil, false }

func (s *shop) Since(ctx context.Context, r rollback.Record) ([]rollback.Record, error) {
	return s.Records(ctx, r.Key)
}

func (s *shop) Recent(ctx context.Context, k rollback.Key) ([]rollback.Record, error) {
	return s.Records(ctx, k)
}

func (s *shop) Record(ctx context.Context, k rollback.Key, revision int) (rollback.Record, bool, error) {
	records, err := s.Records(ctx, k)
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
		ConfirmLimit: 2 * time.Minute, StormReleases: 5, StormWindow: 10 * time.Minute, MaxLoad: 2,
		Verify: 2 * time.Minute, VerifyLimit: 10 * time.Minute, TrafficFloor: 0.1, KeepRecords: 10, KeepRecordsFor: 90 * 24 * time.Hour,
	}
}

// play has the real engine roll a canary back while people are told through w, and
// returns when what was done.
func play(t *testing.T, c Config, w *world) []string {
	t.Helper()
	s := &shop{
		book: &book{}, weight: "20", begin: time.Now(),
		history: rollback.History{
			{Number: 7, UID: "uid-7", Status: rollback.StatusDeployed, Deployed: time.Now().Add(-time.Minute), Content: "c7", Versions: []string{"v3"}, Chart: "web"},
			{Number: 5, UID: "uid-5", Status: rollback.StatusSuperseded, Deployed: time.Now().Add(-time.Hour), Content: "c5", Versions: []string{"v2"}, Chart: "web"},
		},
	}
	d := newDesk(t, c, w, s.book)
	d.run(t)
	engine, err := rollback.New(rollback.Options{
		Releases: s, Traffic: s, Ledger: s, Policy: shopPolicy(), Reporter: d, Registerer: prometheus.NewRegistry(), Log: d.Teller.log,
	})
	if err != nil {
		t.Fatal(err)
	}
	s.book.mu.Lock()
	s.book.changed = func(r rollback.Record) { // as a watch does, a moment later
		time.AfterFunc(5100*time.Microsecond, func() { engine.Notice(r) })
	}
	s.book.mu.Unlock()
	ctx, cancel := context.WithCancel(t.Context())
	var done sync.WaitGroup
	done.Go(func() { _ = engine.Run(ctx) })
	defer done.Wait()
	defer cancel()
	time.Sleep(time.Second)
	s.mu.Lock()
	s.begin = time.Now()
	s.mu.Unlock()
	err = engine.Accept(t.Context(), []rollback.Alert{{
		Labels:      map[string]string{"alertname": "CanaryErrorRatio", "backout": "rollback", "namespace": "shop", "release": "web", "version": "v3"},
		Annotations: map[string]string{"summary": "half of the requests fail"}, Fingerprint: "e1", StartsAt: time.Now().Add(-10 * time.Second),
	}})
	if err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	s.note("answered")
	s.mu.Unlock()
	time.Sleep(20 * time.Minute)
	return s.seen()
}

// TestSlowOrDeadChannelsDelayNothing: safety rule 8. The real engine, with the
// bubble's clock: what is done comes at the same nanosecond whoever is to be told.
func TestSlowOrDeadChannelsDelayNothing(t *testing.T) {
	c := func(t *testing.T) Config {
		return Config{
			SlackWebhookFile: file(t, hookURL), SlackTokenFile: file(t, botToken), SlackChannel: "C1",
			WebhookURL: "https://generic.example", AlertmanagerURLs: []string{"https://am.example"},
		}
	}
	hosts := []string{"hooks.example", "slack.example", "generic.example", "am.example"}
	var want []string
	synctest.Test(t, func(t *testing.T) { want = play(t, Config{}, &world{}) })
	if len(want) != 4 || !strings.HasPrefix(want[1], "weight 0 +") {
		t.Fatalf("the story itself: %v", want)
	}
	for name, w := range map[string]*world{
		"slow": {},
		"dead": {dead: map[string]bool{hosts[0]: true, hosts[1]: true, hosts[2]: true, hosts[3]: true}},
		"good": func() *world {
			slack := fakeSlack()
			fine := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
			return &world{hosts: map[string]http.Handler{hosts[0]: slack, hosts[1]: slack, hosts[2]: fine, hosts[3]: &fakeAlertmanager{}}}
		}(),
	} {
		synctest.Test(t, func(t *testing.T) {
			if got := play(t, c(t), w); !slices.Equal(got, want) {
				t.Errorf("with %s channels: %v\nwithout: %v", name, got, want)
			}
		})
	}
}
