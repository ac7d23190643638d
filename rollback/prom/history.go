package prom

import (
	"context"
	"time"

	"github.com/prometheus/common/model"
)

// past is what a server has stored about an alert.
type past struct {
	fired bool
	since time.Time
	// lacks is the label without which a series fired, so that nobody knows whose
	// it is.
	lacks string
	// ahead is how much the server's clock was ahead of this machine's when it
	// answered, plus the time that the question took to arrive.
	ahead time.Duration
}

// there returns a time of this machine's clock as the server's clock had it, or
// a moment later.
func (p past) there(t time.Time) time.Time { return t.Add(p.ahead) }

// here returns a time of the server's clock by this machine's clock, to the second:
// active-since is stored no finer, and the rest is how long a question takes.
func (p past) here(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.Add(-p.ahead.Round(time.Second)).UTC()
}

// history asks what was stored about the alert from q.at until now.
func (s server) history(ctx context.Context, q question) (past, error) {
	sent := time.Now()
	vector, err := s.vector(ctx, q.text(sent), time.Time{})
	if err != nil {
		return past{}, err
	}
	var p past
	var told bool
	active := make(map[model.Fingerprint]time.Time)
	for _, sample := range vector {
		if len(sample.Metric) == 0 {
			p.ahead, told = sample.Timestamp.Time().Sub(sent), true
		} else if _, state := sample.Metric[labelState]; !state {
			active[identity(sample.Metric)] = time.Unix(int64(sample.Value), 0)
		}
	}
	if !told {
		return past{}, errTimeless
	}
	for _, sample := range vector {
		if sample.Metric[labelState] != stateFiring {
			continue
		}
		accused, lacks := q.isAccused(model.LabelSet(sample.Metric))
		if !accused {
			p.lacks = max(p.lacks, lacks)
			continue
		}
		p.fired = true
		p.since = earliest(p.since, p.here(active[identity(sample.Metric)]))
	}
	return p, nil
}

// identity is the same for an alert's ALERTS and ALERTS_FOR_STATE.
func identity(m model.Metric) model.Fingerprint {
	labels := m.Clone()
	delete(labels, model.MetricNameLabel)
	delete(labels, labelState)
	return labels.Fingerprint()
}

// earliest returns the earlier of two times; a zero time is none.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || (!b.IsZero() && b.Before(a)) {
		return b
	}
	return a
}
