// Command thanos evaluates the alert rules as a Thanos Ruler with a storage of its own does, for a sample of tests/tools/power, and compares
// the outcome with Prometheus' own: by the rule manager of the Prometheus that Thanos is built with, on both engines that a Thanos Querier has.
package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"math"
	"net/url"
	"os"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/rules"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/thanos-io/promql-engine/engine"

	"github.com/upcommerce/backout/tests/tools/engines"
)

// version is the version of Thanos whose requirements go.mod has.
const version = "v0.42.5"

func main() {
	sample := flag.String("sample", "", "the file of a sample, written by power -sample")
	file := flag.String("rules", "", "the rule file for Thanos")
	flag.Parse()
	if err := run(context.Background(), *sample, *file); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, path, file string) error {
	s, err := engines.Read(path)
	if err != nil {
		return err
	}
	o := promql.EngineOpts{MaxSamples: math.MaxInt32, Timeout: time.Hour, EnableNegativeOffset: true, EnableAtModifier: true}
	agree := true
	for _, e := range []struct {
		name   string
		engine promql.QueryEngine
	}{
		{"prometheus", promql.NewEngine(o)},
		{"thanos", engine.New(engine.Opts{EngineOpts: o})},
	} {
		outcome, err := evaluate(ctx, s, e.engine, file)
		if err != nil {
			return err
		}
		outcome.Ruler = fmt.Sprintf("Thanos Ruler %s, `--query.promql-engine=%s`", version, e.name)
		outcome.Rules = "`--engine thanos`"
		agree = s.Agree(outcome, os.Stdout, os.Stderr) && agree
	}
	if !agree {
		return fmt.Errorf("Thanos %s does not agree with Prometheus", version)
	}
	return nil
}

// evaluate evaluates a rule file on an engine.
func evaluate(ctx context.Context, s engines.Sample, e promql.QueryEngine, file string) (engines.Outcome, error) {
	o := engines.Outcome{Fired: engines.Fired{}}
	dir, err := os.MkdirTemp("", "engines-")
	if err != nil {
		return o, fmt.Errorf("make a directory for the storage: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	db, err := open(ctx, s, dir)
	if err != nil {
		return o, err
	}
	defer func() { _ = db.Close() }()
	m := rules.NewManager(&rules.ManagerOptions{
		ExternalURL: &url.URL{},
		QueryFunc:   rules.EngineQueryFunc(e, db),
		NotifyFunc: func(_ context.Context, _ string, alerts ...*rules.Alert) {
			for _, a := range alerts {
				if a.State == rules.StateFiring {
					o.Fired.Add(a.Labels.Get(labels.AlertName), a.Labels.Get("release"), a.FiredAt.UnixMilli())
				}
			}
		},
		Appendable: db,
		Queryable:  db,
		Logger:     slog.New(slog.DiscardHandler),
	})
	every := time.Duration(s.Every) * time.Millisecond
	groups, errs := m.LoadGroups(every, labels.EmptyLabels(), "", nil, false, file)
	if len(errs) > 0 {
		return o, fmt.Errorf("read %s: %w", file, errs[0])
	}
	for at := time.UnixMilli(s.First); !at.After(time.UnixMilli(s.Last)); at = at.Add(every) {
		for _, g := range groups {
			g.Eval(ctx, at)
			g.RestoreForState(at) // without it no alert is recorded
			for _, r := range g.Rules() {
				if err := r.LastError(); err != nil {
					return o, fmt.Errorf("evaluate %s: %w", r.Name(), err)
				}
			}
		}
	}
	return o, nil
}

// open makes a storage with the series of a sample.
func open(ctx context.Context, s engines.Sample, dir string) (*tsdb.DB, error) {
	o := tsdb.DefaultOptions()
	o.WALSegmentSize = -1                                // no data has to outlive the process
	o.MinBlockDuration = (24 * time.Hour).Milliseconds() // series are written one after the other
	o.MaxBlockDuration = o.MinBlockDuration
	db, err := tsdb.Open(dir, nil, nil, o, nil)
	if err != nil {
		return nil, fmt.Errorf("open the storage: %w", err)
	}
	app := db.Appender(ctx)
	for _, series := range s.Series {
		l := labels.FromMap(series.Labels)
		for i, at := range series.Times {
			v := math.Float64frombits(value.StaleNaN)
			if p := series.Values[i]; p != nil {
				v = *p
			}
			if _, err := app.Append(0, l, at, v); err != nil {
				return nil, fmt.Errorf("store %s: %w", l, err)
			}
		}
	}
	if err := app.Commit(); err != nil {
		return nil, fmt.Errorf("store the sample: %w", err)
	}
	return db, nil
}
