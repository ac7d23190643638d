package main

import (
	"context"
	"fmt"
	"time"

	"github.com/VictoriaMetrics/VictoriaMetrics/app/vmalert/config"
	"github.com/VictoriaMetrics/VictoriaMetrics/app/vmalert/rule"
	"github.com/VictoriaMetrics/VictoriaMetrics/lib/prompb"

	"github.com/upcommerce/backout/tests/tools/engines"
)

// stageDelay is the time from one stage to the next in a file for VictoriaMetrics.
const stageDelay = 5 * time.Second

// ruler is vmalert with a rule file and a simulated clock.
type ruler struct {
	groups []*rule.Group
	// first is the first moment that an evaluation is about, lasts the time to the last one, every the time between two.
	first        time.Time
	lasts, every time.Duration
}

// evaluate evaluates a rule file for a sample.
func (v *victoria) evaluate(ctx context.Context, s engines.Sample, path string) (engines.Outcome, error) {
	querier, err := v.open(s)
	if err != nil {
		return engines.Outcome{}, err
	}
	defer v.close()
	parsed, err := config.Parse([]string{path}, nil, true)
	if err != nil {
		return engines.Outcome{}, fmt.Errorf("read %s: %w", path, err)
	}
	first := time.UnixMilli(s.First)
	r := ruler{first: first, lasts: time.UnixMilli(s.Last).Sub(first), every: time.Duration(s.Every) * time.Millisecond}
	for _, g := range parsed {
		group := rule.NewGroup(g, querier, r.every, nil)
		group.Init()
		r.groups = append(r.groups, group)
	}
	return r.run(ctx, v)
}

// late returns the time from the moment that an evaluation is about to a group. A file with one group has no stages.
func (r ruler) late(i int) time.Duration {
	if len(r.groups) == 1 {
		return 0
	}
	return time.Duration(i+1) * stageDelay
}

// run evaluates the groups as vmalert does: each at the multiples of its interval that are shifted by its eval_offset. The groups of a later
// moment see what those of an earlier one have recorded.
func (r ruler) run(ctx context.Context, v *victoria) (engines.Outcome, error) {
	o := engines.Outcome{Fired: engines.Fired{}, Late: map[string]time.Duration{}}
	var late time.Duration
	var failed []error
	written := &results{to: v, each: func(ts prompb.TimeSeries) {
		if alert, release := firing(ts); alert != "" {
			o.Fired.Add(alert, release, ts.Samples[0].Timestamp-late.Milliseconds())
			o.Late[alert] = late
		}
	}}
	for now := time.Duration(0); now <= r.lasts+r.late(len(r.groups)-1); now += stageDelay {
		for i, g := range r.groups {
			late = r.late(i)
			if about := now - late; about < 0 || about > r.lasts || about%r.every != 0 {
				continue
			}
			at := r.first.Add(now)
			if g.EvalOffset != nil && !at.Truncate(g.Interval).Add(*g.EvalOffset).Equal(at) {
				return o, fmt.Errorf("vmalert does not evaluate group %s at %s", g.Name, at)
			}
			for err := range g.ExecOnce(ctx, written, at) {
				if err != nil {
					failed = append(failed, err)
				}
			}
		}
		if err := written.flush(); err != nil {
			return o, err
		}
	}
	if len(failed) > 0 {
		return o, fmt.Errorf("%d evaluations failed, the first: %w", len(failed), failed[0])
	}
	return o, nil
}

// firing returns the alert and the release of a series of a firing alert.
func firing(ts prompb.TimeSeries) (alert, release string) {
	l := map[string]string{}
	for _, label := range ts.Labels {
		l[label.Name] = label.Value
	}
	if l["__name__"] != "ALERTS" || l["alertstate"] != "firing" {
		return "", ""
	}
	return l["alertname"], l["release"]
}
