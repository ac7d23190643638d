package prom

import (
	"context"
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
	servers    []server
	canConfirm *prometheus.GaugeVec
	log        *slog.Logger

	mu sync.Mutex
	// problems says for each server why it cannot confirm an alert; "" if it can, or before
	// the first answer.
	problems []string
}

func newWatch(servers []server, reg prometheus.Registerer, log *slog.Logger) *watch {
	w := &watch{
		servers: servers, log: log, problems: make([]string, len(servers)),
		canConfirm: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "backout_prometheus_can_confirm",
			Help: "Whether a server of BACKOUT_PROMETHEUS_URLS can confirm alerts: 1 if it answers and has an alert rule with a backout label, else 0.",
		}, []string{"server"}),
	}
	for _, s := range servers {
		w.canConfirm.WithLabelValues(s.name)
	}
	if reg != nil {
		reg.MustRegister(w.canConfirm)
	}
	return w
}

// Run finds out at once, and then every 30 seconds until ctx ends, which servers can
// confirm alerts: backout_prometheus_can_confirm and Problems show it. It returns nil.
func (c *Client) Run(ctx context.Context) error {
	tick := time.NewTicker(watchInterval)
	defer tick.Stop()
	for {
		c.watch.query(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// Problems returns a sentence for each server that could not confirm alerts when Run last
// queried it. Without Run, it returns none.
func (c *Client) Problems() []string {
	c.watch.mu.Lock()
	defer c.watch.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(c.watch.problems), func(p string) bool { return p == "" })
}

// query queries all servers in parallel. An answer that is missing because the process
// stops is not a problem.
func (w *watch) query(ctx context.Context) {
	limited, cancel := context.WithTimeout(ctx, watchLimit)
	defer cancel()
	var asking sync.WaitGroup
	for i, s := range w.servers {
		asking.Go(func() {
			evaluates, err := s.evaluates(limited)
			switch {
			case ctx.Err() != nil:
			case err != nil:
				w.set(ctx, i, fmt.Sprintf("Prometheus %s cannot confirm alerts: %s", s.name, reason(err)))
			case !evaluates:
				w.set(ctx, i, fmt.Sprintf("Prometheus %s cannot confirm alerts: it has no alert rule with a backout label; %s", s.name, evaluatorHint))
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
	w.canConfirm.WithLabelValues(w.servers[i].name).Set(canConfirm)
	switch {
	case problem != "" && known == "":
		w.log.WarnContext(ctx, "alerts cannot be confirmed", "prometheus", w.servers[i].name, "reason", problem)
	case problem == "" && known != "":
		w.log.InfoContext(ctx, "alerts can be confirmed again", "prometheus", w.servers[i].name)
	}
}
