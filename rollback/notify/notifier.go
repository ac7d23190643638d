package notify

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/client-go/kubernetes"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/report"
)

// Ledger stores what was sent; *ledger.Ledger is one.
type Ledger interface {
	Records(ctx context.Context, k rollback.Key, c rollback.Consistency) ([]rollback.Record, error)
	Save(ctx context.Context, r rollback.Record) (rollback.Record, error)
}

// Options are the parts that a Notifier works with.
type Options struct {
	Config  Config
	Cluster string
	// StormWindow is the least time between two messages about a storm.
	StormWindow time.Duration
	Ledger      Ledger
	// Client and Manifests are for Kubernetes Events; Instance is the replica's name.
	Client    kubernetes.Interface
	Manifests Manifests
	Instance  string
	// Leads returns nil as long as this process may notify. Nil means always.
	Leads      func() error
	Registerer prometheus.Registerer
	// Transport is http.DefaultTransport if nil. Alertmanagers have one of their own
	// unless it is set.
	Transport http.RoundTripper
	// Log is slog.Default if nil.
	Log *slog.Logger
}

// Notifier sends reports about records through the configured channels. It implements
// rollback.Notifier. Every replica's Notifier is given every record, so that it knows at
// once what is left to send when its process becomes the leader; only the leader sends.
type Notifier struct {
	channels []*channel
	settings report.Settings
	ledger   Ledger
	leads    func() error
	window   time.Duration
	metrics  *metrics
	log      *slog.Logger
	// saveNow has room for one signal: a message ID has to be stored at once.
	saveNow chan struct{}

	mu sync.Mutex
	// pending are the records with something left to send, to refresh, or to store:
	// maxPending at most.
	pending map[identity]*pending
	// notBefore is when a channel may be used again.
	notBefore map[*channel]time.Time
	// stormSent is when a channel last sent a message about a storm.
	stormSent map[*channel]time.Time
}

var _ rollback.Notifier = (*Notifier)(nil)

// New returns a Notifier that sends nothing before Run. It returns an error if a file of
// the configuration is not usable.
func New(o Options) (*Notifier, error) {
	if o.Ledger == nil || o.Registerer == nil {
		return nil, errors.New("notify: Ledger and Registerer are required")
	}
	if err := o.Config.Validate(); err != nil {
		return nil, err
	}
	if o.Leads == nil {
		o.Leads = func() error { return nil }
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	channels, err := open(o)
	if err != nil {
		return nil, err
	}
	return &Notifier{
		channels: channels, settings: report.Settings{Cluster: o.Cluster, Dashboard: o.Config.DashboardURL},
		ledger: o.Ledger, leads: o.Leads, window: o.StormWindow, metrics: newMetrics(o.Registerer, channels), log: o.Log,
		pending: make(map[identity]*pending), notBefore: make(map[*channel]time.Time),
		stormSent: make(map[*channel]time.Time), saveNow: make(chan struct{}, 1),
	}, nil
}

// Run sends until ctx ends, with one worker for each channel, so that none waits for
// another. A delivery in progress is cut off then; the next leader repeats it. Run
// returns nil.
func (n *Notifier) Run(ctx context.Context) error {
	var workers sync.WaitGroup
	for _, c := range n.channels {
		workers.Go(func() { n.work(ctx, c) })
	}
	workers.Go(func() { n.saveLoop(ctx) })
	workers.Wait()
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), saveTimeout)
	defer cancel()
	_ = n.saveAll(last) // it is logged; entries that are not stored may be sent twice
	return nil
}

// work makes the deliveries of one channel, one after the other.
func (n *Notifier) work(ctx context.Context, c *channel) {
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		for more := true; more && ctx.Err() == nil; {
			more = n.deliverNext(ctx, c)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
