package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
)

// Rules are the rules of files, in their order.
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

// Evaluation is what came of evaluating rules: for each record and each alert its series. An alert's series has the times at which
// its expression is true.
type Evaluation map[string]promql.Matrix

// Evaluate evaluates all rules at every step of s and records what they make. It goes rule by rule through all steps, and not step
// by step through all rules: an expression sees only what earlier rules have recorded, so the outcome is the same, and an order of
// magnitude sooner. TestEvaluatesAsAGroupDoes holds it against Prometheus' own way.
func (p *Prometheus) Evaluate(ctx context.Context, rules Rules, s span) (Evaluation, error) {
	e := Evaluation{}
	for _, r := range rules {
		m, err := p.query(ctx, r.Expr, s)
		if err != nil {
			return nil, fmt.Errorf("evaluate %s%s: %w", r.Record, r.Alert, err)
		}
		if r.Alert != "" {
			e[r.Alert] = append(e[r.Alert], pending(m, time.Duration(r.For), s)...)
			continue
		}
		e[r.Record] = append(e[r.Record], m...)
		if err := p.record(ctx, r, m, s); err != nil {
			return nil, err
		}
	}
	return e, nil
}

// pending leaves the times at which the expression has been true for as long as the alert asks.
func pending(m promql.Matrix, wait time.Duration, s span) promql.Matrix {
	for i := range m {
		var since, last int64
		m[i].Floats = slices.DeleteFunc(m[i].Floats, func(f promql.FPoint) bool {
			if last == 0 || f.T > last+s.every.Milliseconds() {
				since = f.T
			}
			last = f.T
			return f.T-since < wait.Milliseconds()
		})
	}
	return m
}
