package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
)

// Rules are the rules of some files, in order.
type Rules []rulefmt.Rule

// LoadRules reads rule files as Prometheus does.
func LoadRules(paths ...string) (Rules, error) {
	var all Rules
	for _, path := range paths {
		groups, errs := rulefmt.ParseFile(path, false, model.UTF8Validation, parser.NewParser(parser.Options{}), slog.New(slog.DiscardHandler))
		if len(errs) > 0 {
			return nil, fmt.Errorf("read rules: %w", errors.Join(errs...))
		}
		for _, g := range groups.Groups {
			all = append(all, g.Rules...)
		}
	}
	return all, nil
}

// Evaluation is the result of an evaluation of rules: the series of each record and each alert. An alert's series has a sample at each
// time at which it fires.
type Evaluation map[string]promql.Matrix

// Evaluate evaluates all rules at every step of s and records the results. It evaluates one rule at all steps before the next rule, and
// not all rules at each step: an expression depends only on the records of earlier rules, so the result is the same, and it is an order of
// magnitude faster. TestEvaluateEqualsPrometheusGroups compares both.
func (p *Prometheus) Evaluate(ctx context.Context, rules Rules, s span) (Evaluation, error) {
	e := Evaluation{}
	for _, r := range rules {
		m, err := p.query(ctx, r.Expr, s)
		if err != nil {
			return nil, fmt.Errorf("evaluate %s%s: %w", r.Record, r.Alert, err)
		}
		name, as := r.Record, r
		if r.Alert != "" {
			name, as, m = r.Alert, alerts(r), firing(m, r, s)
		}
		e[name] = append(e[name], m...)
		if err := p.record(ctx, as, m, s); err != nil {
			return nil, err
		}
	}
	return e, nil
}

// firing returns the times at which an alert fires, given the times m at which its expression is true: once it has been true for as long
// as `for` says, and after that for as long as `keep_firing_for` says.
func firing(m promql.Matrix, r rulefmt.Rule, s span) promql.Matrix {
	wait, keep, every := time.Duration(r.For).Milliseconds(), time.Duration(r.KeepFiringFor).Milliseconds(), s.every.Milliseconds()
	fires := make(promql.Matrix, 0, len(m))
	for _, series := range m {
		is := map[int64]bool{}
		for _, f := range series.Floats {
			is[f.T] = true
		}
		var points []promql.FPoint
		var since, quiet int64 // true since, false since; 0: neither
		fire := false
		for t := s.first.UnixMilli(); t <= s.last.UnixMilli(); t += every {
			switch {
			case is[t]:
				if since == 0 {
					since = t
				}
				fire, quiet = fire || t-since >= wait, 0
			case fire && quiet == 0 && keep > 0:
				quiet = t
			case !fire || quiet == 0 || t-quiet >= keep:
				fire, since, quiet = false, 0, 0
			}
			if fire {
				points = append(points, promql.FPoint{T: t, F: 1})
			}
		}
		fires = append(fires, promql.Series{Metric: series.Metric, Floats: points})
	}
	return fires
}

// alerts returns the rule that records an alert as Prometheus does: other rules may refer to ALERTS.
func alerts(r rulefmt.Rule) rulefmt.Rule {
	l := maps.Clone(r.Labels)
	if l == nil {
		l = map[string]string{}
	}
	l["alertname"], l["alertstate"] = r.Alert, "firing"
	return rulefmt.Rule{Record: "ALERTS", Labels: l}
}
