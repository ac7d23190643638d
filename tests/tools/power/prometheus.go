package main

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"os"
	"slices"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/tsdb"
)

// Prometheus is Prometheus' own storage and engine, without its clock and its network.
type Prometheus struct {
	db     *tsdb.DB
	engine *promql.Engine
	dir    string
}

// NewPrometheus makes an empty Prometheus. Close removes it.
func NewPrometheus() (*Prometheus, error) {
	dir, err := os.MkdirTemp("", "rules-power")
	if err != nil {
		return nil, fmt.Errorf("make a directory for the storage: %w", err)
	}
	o := tsdb.DefaultOptions()
	o.WALSegmentSize = -1                                // no data has to outlive the process
	o.MinBlockDuration = (24 * time.Hour).Milliseconds() // series are written one after the other
	o.MaxBlockDuration = o.MinBlockDuration
	db, err := tsdb.Open(dir, nil, nil, o, nil)
	if err != nil {
		return nil, fmt.Errorf("open the storage: %w", err)
	}
	engine := promql.NewEngine(promql.EngineOpts{
		MaxSamples:           math.MaxInt,
		Timeout:              time.Hour,
		EnableAtModifier:     true,
		EnableNegativeOffset: true,
		Parser:               parser.NewParser(parser.Options{}),
	})
	return &Prometheus{db: db, engine: engine, dir: dir}, nil
}

// Close removes the storage.
func (p *Prometheus) Close() error {
	if err := p.db.Close(); err != nil {
		return fmt.Errorf("close the storage: %w", err)
	}
	return os.RemoveAll(p.dir)
}

// store writes the samples of counters, whose times are relative to start.
func (p *Prometheus) store(ctx context.Context, start time.Time, counters []*counter) error {
	app := p.db.Appender(ctx)
	for _, c := range counters {
		for i, t := range c.times {
			if _, err := app.Append(0, c.labels, start.UnixMilli()+t, c.values[i]); err != nil {
				return fmt.Errorf("store %s: %w", c.labels, err)
			}
		}
	}
	return app.Commit()
}

// span is the first and the last evaluation of rules, and the interval.
type span struct {
	first, last time.Time
	every       time.Duration
}

// query evaluates an expression at every step of s.
func (p *Prometheus) query(ctx context.Context, expr string, s span) (promql.Matrix, error) {
	q, err := p.engine.NewRangeQuery(ctx, p.db, nil, expr, s.first, s.last, s.every)
	if err != nil {
		return nil, fmt.Errorf("query %s: %w", expr, err)
	}
	defer q.Close()
	r := q.Exec(ctx)
	m, err := r.Matrix()
	if err != nil {
		return nil, fmt.Errorf("query %s: %w", expr, err)
	}
	kept := make(promql.Matrix, len(m)) // Close takes the points back
	for i, s := range m {
		kept[i] = promql.Series{Metric: s.Metric, Floats: slices.Clone(s.Floats)}
	}
	return kept, nil
}

// record writes the series of a recording rule, and a staleness marker wherever one ends: without it an evaluation would see the last
// sample for another five minutes.
func (p *Prometheus) record(ctx context.Context, rule rulefmt.Rule, m promql.Matrix, s span) error {
	app := p.db.Appender(ctx)
	every := s.every.Milliseconds()
	for _, series := range relabel(rule, m) {
		for i, f := range series.Floats {
			_, err := app.Append(0, series.Metric, f.T, f.F)
			ends := i+1 == len(series.Floats) || series.Floats[i+1].T > f.T+every
			if err == nil && ends && f.T+every <= s.last.UnixMilli() {
				_, err = app.Append(0, series.Metric, f.T+every, math.Float64frombits(value.StaleNaN))
			}
			if err != nil {
				return fmt.Errorf("record %s: %w", series.Metric, err)
			}
		}
	}
	return app.Commit()
}

// relabel gives series the labels of a rule. Results with the same labels, from different series at different times, become one series.
func relabel(rule rulefmt.Rule, m promql.Matrix) promql.Matrix {
	var relabelled promql.Matrix
	at := map[string]int{}
	for _, series := range m {
		b := labels.NewBuilder(series.Metric).Set(model.MetricNameLabel, rule.Record)
		for k, v := range rule.Labels {
			b.Set(k, v)
		}
		l := b.Labels()
		i, ok := at[l.String()]
		if !ok {
			i = len(relabelled)
			at[l.String()] = i
			relabelled = append(relabelled, promql.Series{Metric: l})
		}
		relabelled[i].Floats = append(relabelled[i].Floats, series.Floats...)
	}
	for _, series := range relabelled {
		slices.SortFunc(series.Floats, func(a, b promql.FPoint) int { return cmp.Compare(a.T, b.T) })
	}
	return relabelled
}
