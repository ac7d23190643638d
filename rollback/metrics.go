package rollback

import "github.com/prometheus/client_golang/prometheus"

// Steps as they are named in metrics and logs.
const (
	stepShed     = "shed"
	stepRollback = "rollback"
	stepRaise    = "raise"
	stepVerify   = "verify"
)

type metrics struct {
	alerts       *prometheus.CounterVec
	ignored      *prometheus.CounterVec
	steps        *prometheus.CounterVec
	seconds      *prometheus.HistogramVec
	lastRollback *prometheus.GaugeVec
	outcomes     *prometheus.CounterVec
	watchdogs    *prometheus.CounterVec
}

// Why an alert was not for backout.
const (
	ignoredNoLabel    = "no-backout-label"
	ignoredBadLabel   = "bad-label"
	ignoredNotAllowed = "release-not-opted-in"
	ignoredCluster    = "other-cluster"
)

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
			Help:    "Time from an accusation's receipt until the step was done.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300},
		}, []string{"step"}),
		lastRollback: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "backout_last_rollback_timestamp_seconds",
			Help: "When the release was last rolled back by backout.",
		}, []string{"namespace", "release"}),
		outcomes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "backout_rollback_outcomes_total",
			Help: "Rollbacks judged, by whether they helped.",
		}, []string{"outcome"}),
		watchdogs: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "backout_watchdogs_total",
			Help: "Watchdog alerts received, by the guarded namespace whose route they came by.",
		}, []string{"namespace"}),
	}
	reg.MustRegister(m.alerts, m.ignored, m.steps, m.seconds, m.lastRollback, m.outcomes, m.watchdogs)
	m.begin(namespaces)
	return m
}

// begin makes every series whose labels are known, at zero.
func (m *metrics) begin(namespaces []string) {
	for _, namespace := range namespaces {
		m.watchdogs.WithLabelValues(namespace)
	}
	for _, o := range []Outcome{Recovered, Restored, NotRecovered} {
		m.outcomes.WithLabelValues(string(o))
	}
	for _, v := range Verdicts() {
		m.alerts.WithLabelValues(string(v))
	}
	for _, reason := range []string{ignoredNoLabel, ignoredBadLabel, ignoredNotAllowed, ignoredCluster} {
		m.ignored.WithLabelValues(reason)
	}
	for _, step := range []string{stepShed, stepRollback, stepRaise, stepVerify} {
		m.seconds.WithLabelValues(step)
		for _, result := range []string{"ok", "error"} {
			m.steps.WithLabelValues(step, result)
		}
	}
}
