package ledger

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"k8s.io/klog/v2"
)

// LeaseName is the name of the Lease for which backout's replicas compete.
const LeaseName = "backout"

// LeaseConfig says how fast a replica takes over from a leader that died. go-envconfig
// reads its tags under the prefix BACKOUT_.
//
// A waiting replica reads the Lease every 1 to 2.2 LEASE_RETRY, at random. It takes over
// once it has seen no renewal for LEASE_DURATION: after the leader's death it leads within
// LEASE_DURATION + 4.4 LEASE_RETRY + two requests, 8.2 s by default. It takes over within
// 2.2 LEASE_RETRY from a leader that shuts down in order.
type LeaseConfig struct {
	Duration time.Duration `env:"LEASE_DURATION, default=6s" desc:"How long the leader's lease is valid, in whole seconds. Another replica takes over from a leader that died within this time + 4.4 BACKOUT_LEASE_RETRY."`
	Renew    time.Duration `env:"LEASE_RENEW, default=4s" desc:"How long the leader tries to renew its lease before it stops."`
	Retry    time.Duration `env:"LEASE_RETRY, default=500ms" desc:"Time between two renewals of the leader, and between two reads of a waiting replica."`
}

// margin is the last part of the lease's duration, in which the leader no longer writes: a
// write that was begun has this time to arrive, and the replicas' clocks may differ in
// pace by as much.
func (c LeaseConfig) margin() time.Duration { return c.Duration / 6 }

// Validate returns every mistake. Each error names its variable.
func (c LeaseConfig) Validate() error {
	var errs []error
	for _, d := range []struct {
		name  string
		value time.Duration
	}{{"DURATION", c.Duration}, {"RENEW", c.Renew}, {"RETRY", c.Retry}} {
		if d.value <= 0 {
			errs = append(errs, fmt.Errorf("BACKOUT_LEASE_%s=%s: want a duration above zero, such as 4s", d.name, d.value))
		}
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	if c.Duration%time.Second != 0 {
		errs = append(errs, fmt.Errorf("BACKOUT_LEASE_DURATION=%s: want whole seconds: a Lease stores nothing finer", c.Duration))
	}
	if least := time.Duration(leaderelection.JitterFactor * float64(c.Retry)); c.Renew <= least {
		errs = append(errs, fmt.Errorf("BACKOUT_LEASE_RENEW=%s is not longer than 1.2 BACKOUT_LEASE_RETRY, %s: one late renewal would end the leadership", c.Renew, least))
	}
	if most := c.Duration - c.margin(); c.Renew+c.Retry > most {
		errs = append(errs, fmt.Errorf("BACKOUT_LEASE_RENEW + BACKOUT_LEASE_RETRY = %s is longer than five sixths of BACKOUT_LEASE_DURATION, %s: another replica could lead before this one stops", c.Renew+c.Retry, most))
	}
	return errors.Join(errs...)
}

// LeaseOptions are the parts of a Lease. All but Registerer and Log are required.
type LeaseOptions struct {
	Client kubernetes.Interface
	// Namespace is backout's own.
	Namespace string
	// Identity names this process: no two running ones may have the same. The pod's name
	// is right: a container that restarts continues at once.
	Identity string
	Config   LeaseConfig
	// Registerer gets the gauge backout_leader.
	Registerer prometheus.Registerer
	// Log is slog.Default if nil.
	Log *slog.Logger
}

// Lease is this process's part in the election of the leader. It can Run once: a process
// that has lost the lease has to restart, because its caches and queues may be outdated.
type Lease struct {
	config LeaseConfig
	term   *term
	lock   *lock
	log    *slog.Logger
}

// NewLease returns a lease for which this process does not compete before Run.
func NewLease(o LeaseOptions) (*Lease, error) {
	if err := o.Config.Validate(); err != nil {
		return nil, err
	}
	if o.Namespace == "" || o.Identity == "" {
		return nil, errors.New("make a lease: it needs backout's own namespace and a name for this replica")
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	t := newTerm(o.Config.Duration - o.Config.margin())
	if o.Registerer != nil {
		leads := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "backout_leader",
			Help: "Whether this replica leads: 1 or 0.",
		}, func() float64 {
			if t.held(t.now()) == nil {
				return 1
			}
			return 0
		})
		if err := o.Registerer.Register(leads); err != nil {
			return nil, fmt.Errorf("register the leader's metric: %w", err)
		}
	}
	return &Lease{config: o.Config, term: t, log: o.Log, lock: &lock{
		Interface: &resourcelock.LeaseLock{
			LeaseMeta:  metav1.ObjectMeta{Namespace: o.Namespace, Name: LeaseName},
			Client:     o.Client.CoordinationV1(),
			LockConfig: resourcelock.ResourceLockConfig{Identity: o.Identity},
			Labels:     map[string]string{managedLabel: managedValue},
		},
		term: t, timeout: o.Config.Renew / 2, log: o.Log,
	}}, nil
}

// Held returns nil only while no other replica can lead, and an ErrNotLeader with the
// reason otherwise. It sends no request: it counts from this process's own last renewal,
// so that it is right at once in a process that was stopped for a while. Call it right
// before every write. It cannot detect a process that is stopped between Held and the
// write: every write must also depend on the state that was read.
func (l *Lease) Held() error { return l.term.held(l.term.now()) }

// Run competes for the lease. Once this process leads, it calls lead with a context that
// ends with ctx or with the lease.
//
// When ctx ends, Run keeps the lease until lead has returned, gives the lease up and
// returns nil. It does the same when lead returns by itself. As soon as the lease is lost,
// Run returns an error with the reason, without waiting for lead, whose writes Held
// refuses. The process should exit then.
func (l *Lease) Run(ctx context.Context, lead func(ctx context.Context)) error {
	if err := l.term.cause(); err != nil {
		return fmt.Errorf("compete for the lease again: %w", err)
	}
	// client-go logs the same errors itself.
	campaign, stop := context.WithCancelCause(klog.NewContext(context.WithoutCancel(ctx), klog.New(nil)))
	defer stop(nil)
	l.lock.lose = stop
	won := make(chan struct{})
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock: l.lock, Name: LeaseName,
		LeaseDuration: l.config.Duration, RenewDeadline: l.config.Renew, RetryPeriod: l.config.Retry,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(context.Context) { close(won) },
			OnStoppedLeading: func() {},
		},
	})
	if err != nil {
		return fmt.Errorf("compete for the lease: %w", err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		elector.Run(campaign)
	}()
	done := make(chan struct{})
	work, stopWork := context.WithCancelCause(ctx)
	defer stopWork(nil)
	select {
	case <-ctx.Done():
		close(done)
	case <-ended:
	case <-won:
		l.log.InfoContext(ctx, "this replica leads")
		go func() {
			defer close(done)
			lead(work)
		}()
	}
	select {
	case <-done:
		return l.resign(campaign, stop, ended)
	case <-ended:
		err := l.lost(campaign)
		stopWork(err)
		return err
	}
}

var errGivenUp = errors.New("the lease was given up")

// resign ends the campaign and gives the lease up, so that another replica need not wait
// until it expires.
func (l *Lease) resign(campaign context.Context, stop context.CancelCauseFunc, ended <-chan struct{}) error {
	stop(nil)
	<-ended
	led := l.term.active()
	l.term.end(errGivenUp)
	if !led {
		return nil
	}
	ctx := context.WithoutCancel(campaign)
	if err := l.lock.giveUp(ctx); err != nil {
		l.log.WarnContext(ctx, "the lease could not be given up; it expires by itself", "error", err, "duration", l.config.Duration)
	}
	return nil
}

// lost returns why the elector stopped although its campaign had not ended.
func (l *Lease) lost(campaign context.Context) error {
	l.term.end(fmt.Errorf("the lease could not be renewed for %s", l.config.Renew))
	if cause := context.Cause(campaign); cause != nil {
		return fmt.Errorf("%w: %w", ErrNotLeader, cause)
	}
	return fmt.Errorf("%w: %w", ErrNotLeader, l.term.cause())
}
