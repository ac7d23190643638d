package rollback

import (
	"context"
	"errors"
	"hash/maphash"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Bounds of the engine.
const (
	// maxReleasesAtOnce bounds how many releases are worked on at a time.
	maxReleasesAtOnce = 8
	// sweepInterval is how often open records are looked for, so that none
	// depends on an alert being delivered again.
	sweepInterval = 15 * time.Second
	// lookInterval is how often a waiting step looks at the cluster.
	lookInterval = time.Second
	// maxConflicts bounds how often one write to the ledger is repeated.
	maxConflicts = 20
	// maxWebhooks bounds how many are stored at a time, maxStores how many
	// releases of one webhook.
	maxWebhooks = 32
	maxStores   = 16
)

// Options are the parts an Engine works with.
type Options struct {
	Releases   Releases
	Traffic    Traffic
	Ledger     Ledger
	Policy     Policy
	Registerer prometheus.Registerer
	// Prometheus is nil if there is none to ask; alerts are then believed.
	Prometheus Prometheus
	// Reporter is nil if nobody is to be told.
	Reporter Reporter
	// Leads returns nil as long as this process may write to releases. It is asked
	// before every step but the shed. Nil means always.
	Leads func() error
	// Board is told of every record and every refusal; nil shows them nowhere.
	Board *Board
	// Log is slog.Default if nil.
	Log *slog.Logger
}

// Engine stores accusations and walks the steps of their records. It is safe for
// concurrent use. Every replica stores and sheds; all other steps are the
// leader's.
type Engine struct {
	releases   Releases
	traffic    Traffic
	ledger     Ledger
	prometheus Prometheus
	reporter   Reporter
	leads      func() error
	policy     Policy
	board      *Board
	metrics    *metrics
	log        *slog.Logger

	// webhooks has room for those that are stored at a time.
	webhooks chan struct{}
	storms   storms

	// locks serialise this process's writes to one release's records, so that
	// ErrConflict is left for other writers.
	locks [64]sync.Mutex
	seed  maphash.Seed

	mu sync.Mutex
	// urgent are decisions of a moment ago, for the sheds that follow.
	urgent map[Key]urgency
	due    map[Key]struct{}
	active map[Key]struct{}
	// walking is how many of the active ones may be walked to their end.
	walking int
	// timers has the release's next look, one at most.
	timers map[Key]*time.Timer
	// woken and led have room for one signal: there is something due, and this
	// process became the leader.
	woken, led chan struct{}
}

// New returns an engine that does nothing before Run. It returns an error that
// names every mistake in the policy.
func New(o Options) (*Engine, error) {
	if o.Releases == nil || o.Traffic == nil || o.Ledger == nil || o.Registerer == nil {
		return nil, errors.New("engine: Releases, Traffic, Ledger and Registerer are required")
	}
	if err := o.Policy.Validate(); err != nil {
		return nil, err
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Board == nil {
		o.Board = NewBoard()
	}
	if o.Leads == nil {
		o.Leads = func() error { return nil }
	}
	e := &Engine{
		releases: o.Releases, traffic: o.Traffic, ledger: o.Ledger, prometheus: o.Prometheus,
		reporter: o.Reporter, leads: o.Leads, policy: o.Policy, board: o.Board, metrics: newMetrics(o.Registerer, o.Policy.Namespaces()), log: o.Log,
		webhooks: make(chan struct{}, maxWebhooks), seed: maphash.MakeSeed(),
		urgent: make(map[Key]urgency), due: make(map[Key]struct{}), active: make(map[Key]struct{}),
		timers: make(map[Key]*time.Timer), woken: make(chan struct{}, 1), led: make(chan struct{}, 1),
	}
	o.Registerer.MustRegister(newStanding(o.Board))
	e.registerQueue(o.Registerer)
	return e, nil
}

// Run works on open records until ctx ends, beginning with those that an earlier
// process left, if this one leads. It returns nil after the steps in hand are
// done; a step that was not begun is left in its record for the next Run.
func (e *Engine) Run(ctx context.Context) error {
	var working sync.WaitGroup
	defer working.Wait()
	working.Go(func() { e.sweeps(ctx) })
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-e.woken:
			for _, j := range e.take() {
				working.Go(func() { e.work(ctx, j) })
			}
		}
	}
}

// Notice is told of every record that is stored, by whichever replica: the leader
// goes on with it, every replica counts it for a storm, and the reporter gets it.
// It never blocks.
func (e *Engine) Notice(r Record) {
	if e.reporter != nil {
		e.reporter.Report(r)
	}
	e.board.Notice(r)
	if last := r.accusedAt(); !last.IsZero() && r.Decision().Verdict.accuses() {
		e.storms.note(r.Key, last)
	}
	// One that was closed just now may be one too many.
	if (r.Closed.IsZero() || time.Since(r.Closed) < sweepInterval) && e.leads() == nil {
		e.Watch(r.Key)
	}
}
