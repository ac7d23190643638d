package helm

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// Reasons for which a revision cannot be read.
const (
	unreadableDamaged  = "damaged"
	unreadableTooLarge = "too-large"
)

// metrics are those of the package.
type metrics struct {
	unreadable *prometheus.CounterVec
}

// newMetrics registers the metrics, unless reg is nil.
func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{unreadable: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "backout_unreadable_revisions_total",
		Help: "Revisions of a release that backout cannot read in Helm's Secret or ConfigMap, by reason: damaged, or too large. One that did not change is usually counted once.",
	}, []string{"reason"})}
	for _, reason := range []string{unreadableDamaged, unreadableTooLarge} {
		m.unreadable.WithLabelValues(reason)
	}
	if reg != nil {
		reg.MustRegister(m.unreadable)
	}
	return m
}

// countUnreadable counts a revision that cannot be read, for the reason in err.
func (m *metrics) countUnreadable(err error) {
	reason := unreadableDamaged
	if errors.Is(err, errTooLarge) {
		reason = unreadableTooLarge
	}
	m.unreadable.WithLabelValues(reason).Inc()
}
