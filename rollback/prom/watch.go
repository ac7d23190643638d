package prom

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// How often watch queries every server, and how long it waits for an answer.
const (
	watchInterval = 30 * time.Second
	watchLimit    = 10 * time.Second
)

// watch knows which servers can confirm alerts: those that answer and have an alert rule
// with a backout label. It is safe for concurrent use.
type watch struct {
	pool       *pool
	canConfirm *prometheus.GaugeVec
	log        *slog.Logger

	mu sync.Mutex
	// problems says for each server why it cannot confirm an alert; "" if it can, or before
	// the first answer.
	problems []string
}

func newWatch(p *pool, reg prometheus.Registerer, log *slog.Logger) *watch {
	w := &watch{
		pool: p, log: log, problems: make([]string, len(p.evaluators)),
		canConfirm: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "backout_prometheus_can_confirm",
			Help: "Whether a server of BACKOUT_PROMETHEUS_URLS or BACKOUT_GRAFANA_URLS can confirm alerts: 1 if it answers and has an alert rule with a backout label, else 0.",
		}, []string{"server"}),
	}
	if reg != nil {
		w.canConfirm = registered(reg, w.canConfirm)
	}
	for _, e := range p.evaluators {
		w.canConfirm.WithLabelValues(e.label())
	}
	return w
}

// registered registers the gauge, or returns the one that another pool has registered.
func registered(reg prometheus.Registerer, gauge *prometheus.GaugeVec) *prometheus.GaugeVec {
	err := reg.Register(gauge)
	if known, ok := errors.AsType[prometheus.AlreadyRegisteredError](err); ok {
		if same, ok := known.ExistingCollector.(*prometheus.GaugeVec); ok {
			return same
		}
	}
	if err != nil {
		panic(err) // as MustRegister does
	}
	return gauge
}

// Run finds out at once, and then every 30 seconds until ctx ends, which servers can
// confirm alerts: backout_prometheus_can_confirm and Problems show it. It returns nil.
func (p *pool) Run(ctx context.Context) error {
	tick := time.NewTicker(watchInterval)
	defer tick.Stop()
	for {
		p.watch.query(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// Problems returns a sentence for each server that could not confirm alerts when Run last
// queried it. Without Run, it returns none.
func (p *pool) Problems() []string {
	p.watch.mu.Lock()
	defer p.watch.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(p.watch.problems), func(problem string) bool { return problem == "" })
}

// query queries all servers in parallel. An answer that is missing because the process
// stops is not a problem.
func (w *watch) query(ctx context.Context) {
	limited, cancel := context.WithTimeout(ctx, watchLimit)
	defer cancel()
	var asking sync.WaitGroup
	for i, s := range w.pool.evaluators {
		asking.Go(func() {
			evaluates, err := s.evaluates(limited)
			switch {
			case ctx.Err() != nil:
			case err != nil:
				w.set(ctx, i, fmt.Sprintf("%s %s cannot confirm alerts: %s", w.pool.kind, s.label(), reason(err)))
			case !evaluates:
				w.set(ctx, i, fmt.Sprintf("%s %s cannot confirm alerts: it has no alert rule with a backout label; %s", w.pool.kind, s.label(), w.pool.kind.evaluatorHint()))
			default:
				w.set(ctx, i, "")
			}
		})
	}
	asking.Wait()
}

// set stores and logs what is wrong with a server. Another error of a server that has one
// already is not logged.
func (w *watch) set(ctx context.Context, i int, problem string) {
	w.mu.Lock()
	known := w.problems[i]
	w.problems[i] = problem
	w.mu.Unlock()
	canConfirm := 1.0
	if problem != "" {
		canConfirm = 0
	}
	w.canConfirm.WithLabelValues(w.pool.evaluators[i].label()).Set(canConfirm)
	switch {
	case problem != "" && known == "":
		w.log.WarnContext(ctx, "alerts cannot be confirmed", "prometheus", w.pool.evaluators[i].label(), "reason", problem)
	case problem == "" && known != "":
		w.log.InfoContext(ctx, "alerts can be confirmed again", "prometheus", w.pool.evaluators[i].label())
	}
}
