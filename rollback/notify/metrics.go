package notify

import "github.com/prometheus/client_golang/prometheus"

// Results of a delivery.
const (
	resultSent    = "sent"
	resultError   = "error"
	resultDropped = "dropped"
)

type metrics struct {
	notifications *prometheus.CounterVec
	queued        *prometheus.GaugeVec
}

func newMetrics(reg prometheus.Registerer, channels []*channel) *metrics {
	m := &metrics{
		notifications: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "backout_notifications_total",
			Help: "Deliveries of notifications, by channel and result: sent, error (retried), dropped (given up).",
		}, []string{"channel", "result"}),
		queued: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "backout_notifications_queued",
			Help: "Records about which a channel has something left to send.",
		}, []string{"channel"}),
	}
	reg.MustRegister(m.notifications, m.queued)
	for _, c := range channels {
		m.queued.WithLabelValues(c.name)
		for _, result := range []string{resultSent, resultError, resultDropped} {
			m.notifications.WithLabelValues(c.name, result)
		}
	}
	return m
}
