package ledger

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/upcommerce/backout/rollback"
)

// untilWord is in front of the end of a pause, in the text of its annotation: as in
// "2026-11-27T12:00:00Z until 2026-11-27T14:00:00Z by ann: load test".
const untilWord = "until"

// PauseNote returns the text of a pause that begins now and ends by itself after a duration, or
// does not if that is 0.
func PauseNote(now time.Time, lasts time.Duration, operator, reason string) string {
	line := now.UTC().Format(time.RFC3339)
	if lasts > 0 {
		line += " " + untilWord + " " + now.UTC().Add(lasts).Format(time.RFC3339)
	}
	line += " by " + operator
	if reason != "" {
		line += ": " + reason
	}
	return line
}

// endOf returns when the pause with that text ends by itself; zero if it does not. The end is
// the second word, or the first if an operator has written none in front of it.
func endOf(value string) time.Time {
	words := strings.Fields(value)
	for i := range min(len(words)-1, 2) {
		if words[i] == untilWord {
			at, err := time.Parse(time.RFC3339, words[i+1])
			if err != nil {
				return time.Time{} // a time that cannot be read ends nothing
			}
			return at
		}
	}
	return time.Time{}
}

// isOver reports whether the text of an annotation says that there is no pause, or none any
// more.
func isOver(value string, now time.Time) bool {
	end := endOf(value)
	return isFalse(value) || !end.IsZero() && !now.Before(end)
}

// Times and bounds of a PauseGauge.
const (
	pauseInterval = time.Minute
	// maxPauses bounds the pauses of one namespace that are reported: operators write the
	// annotations.
	maxPauses = 100
)

// PauseGauge says as a metric what is paused. Only the leader reads that, every minute: the
// engine itself reads pauses whenever it acts. Run has to be called.
type PauseGauge struct {
	ledger     *Ledger
	namespaces []string
	leads      func() error
	log        *slog.Logger
	paused     *prometheus.GaugeVec

	mu sync.Mutex
	// last are the labels that were set, by namespace.
	last map[string][]prometheus.Labels
}

// NewPauseGauge returns a gauge for the namespaces and everything, which reads while leads
// returns nil.
func NewPauseGauge(l *Ledger, namespaces []string, leads func() error, reg prometheus.Registerer) *PauseGauge {
	g := &PauseGauge{
		ledger: l, namespaces: namespaces, leads: leads, log: l.log, last: make(map[string][]prometheus.Labels),
		paused: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "backout_paused",
			Help: "Pauses, by what is paused: a release, with an empty release its namespace, with an empty namespace everything. ends says whether the pause ends by itself. 1 for each pause, else no series; the leader alone has them.",
		}, []string{"namespace", "release", "ends"}),
	}
	reg.MustRegister(g.paused)
	return g
}

// Run reads the pauses until ctx ends. It returns nil.
func (g *PauseGauge) Run(ctx context.Context) error {
	tick := time.NewTicker(pauseInterval)
	defer tick.Stop()
	for {
		g.update(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// update reads the pauses once. Those of a namespace that cannot be read stay as they were.
func (g *PauseGauge) update(ctx context.Context) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.leads() != nil {
		g.paused.Reset()
		clear(g.last)
		return
	}
	own := g.ledger.own
	for _, namespace := range slices.Compact(slices.Sorted(slices.Values(append(slices.Clone(g.namespaces), own)))) {
		if namespace == "" {
			continue
		}
		limited, cancel := context.WithTimeout(ctx, pauseInterval/4)
		found, err := g.pauses(limited, namespace)
		cancel()
		if err != nil {
			if ctx.Err() == nil {
				g.log.WarnContext(ctx, "pauses not readable; the metric keeps those that were read before", "namespace", namespace, "error", err)
			}
			continue
		}
		for _, labels := range g.last[namespace] {
			g.paused.Delete(labels)
		}
		for _, labels := range found {
			g.paused.With(labels).Set(1)
		}
		g.last[namespace] = found
	}
}

// pauses returns the labels of the pauses that the namespace's ConfigMap has.
func (g *PauseGauge) pauses(ctx context.Context, namespace string) ([]prometheus.Labels, error) {
	cm, err := g.ledger.client.CoreV1().ConfigMaps(namespace).Get(ctx, PausesName, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the pauses of namespace %s: %w", namespace, err)
	}
	var found []prometheus.Labels
	for annotation, value := range cm.Annotations {
		scope, ok := g.scopeOf(namespace, annotation)
		if !ok || isOver(value, time.Now()) || len(found) == maxPauses {
			continue
		}
		found = append(found, prometheus.Labels{
			"namespace": scope.Namespace, "release": scope.Release, "ends": strconv.FormatBool(!endOf(value).IsZero()),
		})
	}
	return found, nil
}

// scopeOf returns what an annotation in that namespace pauses, and whether it pauses anything.
func (g *PauseGauge) scopeOf(namespace, annotation string) (Scope, bool) {
	release, ofRelease := strings.CutPrefix(annotation, pausedRelease)
	switch {
	case annotation == pausedEverywhere:
		return Scope{}, namespace == g.ledger.own
	case annotation == pausedNamespace:
		return Scope{Namespace: namespace}, slices.Contains(g.namespaces, namespace)
	case ofRelease:
		k := rollback.Key{Namespace: namespace, Release: release}
		return Scope{Namespace: namespace, Release: release}, k.IsValid() && slices.Contains(g.namespaces, namespace)
	}
	return Scope{}, false
}
