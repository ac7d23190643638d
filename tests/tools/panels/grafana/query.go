// Package grafana sends the queries of a dashboard to Prometheus as Grafana does, and
// draws the answers: enough of Grafana's panels to check and to show the dashboards of
// this repository without Grafana.
package grafana

import (
	"context"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strings"
	"time"

	promv1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"

	"github.com/upcommerce/backout/dashboards"
)

// Request is a dashboard, its Prometheus, and the time range.
type Request struct {
	Dashboard  dashboards.Dashboard
	Prometheus promv1.API
	Start, End time.Time
	// Scrape is the scrape interval of Grafana's data source.
	Scrape time.Duration
}

// Board is a dashboard with its answers.
type Board struct {
	Request
	// Chosen has the values of the variables, by name: the first one, or all.
	Chosen map[string]string
	Panels []Panel
	// Annotations are the times of the annotations.
	Annotations []time.Time
}

// Panel is a panel with the series of its queries, in the order of the queries.
type Panel struct {
	dashboards.Panel
	Series []Series
}

// Series is one series of an answer; that of an instant query has one point. NaN and
// infinite points are left out.
type Series struct {
	Name   string
	Labels map[string]string
	// Ref is the refId of the query.
	Ref    string
	Points []Point
}

// Point is a value at its time.
type Point struct {
	At    time.Time
	Value float64
}

// mostPoints bounds the points of one series, as the width of a panel does in Grafana.
const mostPoints = 300

// Query runs all queries of the dashboard.
func Query(ctx context.Context, q Request) (*Board, error) {
	b := &Board{Request: q, Chosen: map[string]string{
		"__range":         fmt.Sprintf("%ds", int(q.End.Sub(q.Start).Seconds())),
		"__rate_interval": max(q.step()+q.Scrape, 4*q.Scrape).String(),
	}}
	for _, v := range q.Dashboard.Templating.List {
		if err := b.choose(ctx, v); err != nil {
			return nil, err
		}
	}
	for _, p := range q.Dashboard.Panels {
		shown := Panel{Panel: p}
		for _, target := range p.Targets {
			series, err := b.query(ctx, target)
			if err != nil {
				return nil, fmt.Errorf("panel %q: %w", p.Title, err)
			}
			shown.Series = append(shown.Series, series...)
		}
		b.Panels = append(b.Panels, shown)
	}
	return b, b.annotate(ctx)
}

// step is the time between two points.
func (r Request) step() time.Duration {
	return max(r.Scrape, (r.End.Sub(r.Start)/mostPoints).Truncate(time.Second)+time.Second)
}

var labelValues = regexp.MustCompile(`^label_values\((.*), (\w+)\)$`)

// choose sets the value of a variable.
func (b *Board) choose(ctx context.Context, v dashboards.Variable) error {
	parts := labelValues.FindStringSubmatch(v.Definition)
	switch {
	case v.IncludeAll:
		b.Chosen[v.Name] = v.AllValue
		return nil
	case parts == nil:
		return nil
	}
	found, _, _, err := b.Prometheus.LabelValues(ctx, parts[2], []string{dashboards.Interpolate(parts[1], b.Chosen)}, b.Start, b.End)
	if err != nil {
		return fmt.Errorf("variable %s: %w", v.Name, err)
	}
	if len(found) == 0 {
		return fmt.Errorf("variable %s: no value for %s", v.Name, dashboards.Interpolate(v.Definition, b.Chosen))
	}
	b.Chosen[v.Name] = string(found[0])
	return nil
}

// Expr returns the expression of a query with its variables replaced.
func (b *Board) Expr(t dashboards.Target) string { return dashboards.Interpolate(t.Expr, b.Chosen) }

func (b *Board) query(ctx context.Context, t dashboards.Target) ([]Series, error) {
	var matrix model.Matrix
	if t.Instant {
		answer, _, _, err := b.Prometheus.Query(ctx, b.Expr(t), b.End)
		if err != nil {
			return nil, fmt.Errorf("query %s: %w", b.Expr(t), err)
		}
		vector, ok := answer.(model.Vector)
		if !ok {
			return nil, fmt.Errorf("query %s: the answer is a %s, not a vector", b.Expr(t), answer.Type())
		}
		for _, s := range vector {
			matrix = append(matrix, &model.SampleStream{Metric: s.Metric, Values: []model.SamplePair{{Timestamp: s.Timestamp, Value: s.Value}}})
		}
	} else {
		answer, _, _, err := b.Prometheus.QueryRange(ctx, b.Expr(t), promv1.Range{Start: b.Start, End: b.End, Step: b.step()})
		if err != nil {
			return nil, fmt.Errorf("query %s: %w", b.Expr(t), err)
		}
		matrix = answer.(model.Matrix)
	}
	var all []Series
	for _, stream := range matrix {
		s := Series{Ref: t.RefID, Labels: map[string]string{}}
		for name, value := range stream.Metric {
			s.Labels[string(name)] = string(value)
		}
		s.Name = legend(t.LegendFormat, s.Labels)
		for _, p := range stream.Values {
			if v := float64(p.Value); !math.IsNaN(v) && !math.IsInf(v, 0) {
				s.Points = append(s.Points, Point{p.Timestamp.Time(), v})
			}
		}
		if len(s.Points) > 0 {
			all = append(all, s)
		}
	}
	slices.SortStableFunc(all, func(x, y Series) int { return strings.Compare(x.Name, y.Name) })
	return all, nil
}

// legend names a series as Grafana does.
func legend(format string, labels map[string]string) string {
	if format == "" {
		var pairs []string
		for _, name := range slices.Sorted(maps.Keys(labels)) {
			pairs = append(pairs, name+"="+labels[name])
		}
		return strings.Join(pairs, ", ")
	}
	for name, value := range labels {
		format = strings.ReplaceAll(format, "{{"+name+"}}", value)
	}
	return strings.TrimSpace(regexp.MustCompile(`\{\{\w+\}\}`).ReplaceAllString(format, ""))
}

// annotate queries the annotations; their values are the times.
func (b *Board) annotate(ctx context.Context) error {
	for _, a := range b.Dashboard.Annotations.List {
		series, err := b.query(ctx, dashboards.Target{Expr: a.Expr})
		if err != nil {
			return fmt.Errorf("annotation %q: %w", a.Name, err)
		}
		for _, s := range series {
			for _, p := range s.Points {
				at := time.UnixMilli(int64(p.Value))
				if at.After(b.Start) && at.Before(b.End) && !slices.ContainsFunc(b.Annotations, at.Equal) {
					b.Annotations = append(b.Annotations, at)
				}
			}
		}
	}
	return nil
}

// Last is the newest point.
func (s Series) Last() Point { return s.Points[len(s.Points)-1] }
