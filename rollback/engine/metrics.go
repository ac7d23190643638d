package engine

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/upcommerce/backout/rollback"
)

// metrics are those of the engine.
type metrics struct {
	alerts       *prometheus.CounterVec
	ignored      *prometheus.CounterVec
	steps        *prometheus.CounterVec
	seconds      *prometheus.HistogramVec
	lastRollback *prometheus.GaugeVec
	outcomes     *prometheus.CounterVec
	watchdogs    *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer, namespaces []string) *metrics {
	m := &metrics{
		alerts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "backout_alerts_total",
			Help: "Alerts that asked backout to act, by verdict.",
		}, []string{"verdict"}),
		ignored: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "backout_alerts_ignored_total",
			Help: "Alerts that led to no decision, by reason.",
		}, []string{"reason"}),
		steps: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "backout_steps_total",
			Help: "Steps attempted on releases, by step and result.",
		}, []string{"step", "result"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "backout_step_duration_seconds",
			Help:    "Time from the receipt of the first alert until the step was done.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300},
		}, []string{"step"}),
		lastRollback: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "backout_last_rollback_timestamp_seconds",
			Help: "When the release was last rolled back by backout.",
		}, []string{"namespace", "release"}),
		outcomes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "backout_rollback_outcomes_total",
			Help: "Rollbacks verified, by whether they helped.",
		}, []string{"outcome"}),
		watchdogs: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "backout_watchdogs_total",
			Help: "Watchdog alerts received, by the guarded namespace whose route delivered them.",
		}, []string{"namespace"}),
	}
	reg.MustRegister(m.alerts, m.ignored, m.steps, m.seconds, m.lastRollback, m.outcomes, m.watchdogs)
	m.begin(namespaces)
	return m
}

// begin creates every series whose labels are known, at zero.
func (m *metrics) begin(namespaces []string) {
	for _, namespace := range namespaces {
		m.watchdogs.WithLabelValues(namespace)
	}
	for _, o := range []rollback.Outcome{rollback.OutcomeRecovered, rollback.OutcomeRestored, rollback.OutcomeNotRecovered} {
		m.outcomes.WithLabelValues(string(o))
	}
	for _, v := range rollback.Verdicts() {
		m.alerts.WithLabelValues(string(v))
	}
	for _, reason := range rollback.IgnoreReasons() {
		m.ignored.WithLabelValues(string(reason))
	}
	for _, step := range []string{rollback.StepShed, rollback.StepRollback, rollback.StepRestore, rollback.StepVerify} {
		m.seconds.WithLabelValues(step)
		for _, result := range []string{"ok", "error"} {
			m.steps.WithLabelValues(step, result)
		}
	}
}
