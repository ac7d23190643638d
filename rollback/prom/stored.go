package prom

import (
	"context"
	"time"

	"github.com/prometheus/common/model"
)

// storedAlert is what a server has stored about an alert.
type storedAlert struct {
	sighting
	since time.Time
	// clockAhead is how much the server's clock was ahead of this machine's when it
	// answered, plus the time that the query took to arrive.
	clockAhead time.Duration
}

// serverTime returns a time of this machine's clock by the server's clock, or a moment
// later.
func (a storedAlert) serverTime(t time.Time) time.Time { return t.Add(a.clockAhead) }

// localTime returns a time of the server's clock by this machine's clock, to the second:
// active-since is stored no finer, and the rest is how long a query takes.
func (a storedAlert) localTime(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.Add(-a.clockAhead.Round(time.Second)).UTC()
}

// storedAlert queries what was stored about the alert from q.at until now.
func (s server) storedAlert(ctx context.Context, q query) (storedAlert, error) {
	sent := time.Now()
	vector, err := s.vector(ctx, q.promQL(sent), time.Time{})
	if err != nil {
		return storedAlert{}, err
	}
	var a storedAlert
	var hasTime bool
	active := make(map[model.Fingerprint]time.Time)
	for _, sample := range vector {
		if len(sample.Metric) == 0 {
			a.clockAhead, hasTime = sample.Timestamp.Time().Sub(sent), true
		} else if _, hasState := sample.Metric[labelState]; !hasState {
			active[identity(sample.Metric)] = time.Unix(int64(sample.Value), 0)
		}
	}
	if !hasTime {
		return storedAlert{}, errNoTime
	}
	for _, sample := range vector {
		if sample.Metric[labelState] != stateFiring {
			continue
		}
		if a.add(q, model.LabelSet(sample.Metric)) {
			a.since = earliest(a.since, a.localTime(active[identity(sample.Metric)]))
		}
	}
	return a, nil
}

// identity is the same for an alert's ALERTS and ALERTS_FOR_STATE.
func identity(m model.Metric) model.Fingerprint {
	labels := m.Clone()
	delete(labels, model.MetricNameLabel)
	delete(labels, labelState)
	return labels.Fingerprint()
}
