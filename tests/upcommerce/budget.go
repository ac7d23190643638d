package upcommerce

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Budget is the error budget of the promise that the chart's values make.
type Budget struct {
	// Seconds are what the whole window allows, as if nothing were answered in them;
	// Source is the command that gives target and window.
	Seconds float64
	Source  string
	// Left is what is left of them, in percent; Query is what was asked for it.
	Left  float64
	Query string
}

// ErrorBudget returns the budget that the release promises and what is left of it. The
// share of requests that failed, summed over the time in which there was traffic, are
// the seconds that are used up. It returns an error if Prometheus knows of no traffic,
// or if more is used than there was.
func ErrorBudget(ctx context.Context, g *Ground) (Budget, error) {
	b, days, err := g.promise(ctx)
	if err != nil {
		return b, err
	}
	if _, err := g.ask(ctx, fmt.Sprintf(`sum(http_requests_total{namespace=%q}) > 0`, Namespace)); err != nil {
		return b, err
	}
	const step = 15 // seconds
	b.Query = fmt.Sprintf(`100 * (1 - %d * (sum_over_time((
  sum(rate(http_requests_total{namespace=%q,code=~"5.."}[1m]))
  / (sum(rate(http_requests_total{namespace=%q}[1m])) > 0)
)[%dd:%ds]) or vector(0)) / %v)`, step, Namespace, Namespace, days, step, b.Seconds)
	b.Left, err = g.ask(ctx, b.Query)
	if err == nil && (b.Left <= 0 || b.Left > 100) {
		err = fmt.Errorf("%.3f%% of the %v seconds are left, want some and not more than all", b.Left, b.Seconds)
	}
	return b, err
}

// promise reads what the release's values promise, and over how many days.
func (g *Ground) promise(ctx context.Context) (Budget, int, error) {
	args := []string{"get", "values", Release, "--namespace", Namespace, "--all", "--output", "json"}
	b := Budget{Source: "helm " + strings.Join(args, " ") + ": (1 - target / 100) * window of slo.availability"}
	text, err := g.Helm(ctx, args...)
	if err != nil {
		return b, 0, err
	}
	var values struct {
		SLO struct {
			Availability struct {
				Target float64 `json:"target"` // percent
				Window string  `json:"window"` // "30d"
			} `json:"availability"`
		} `json:"slo"`
	}
	if err := json.Unmarshal([]byte(text), &values); err != nil {
		return b, 0, fmt.Errorf("read the release's values: %w", err)
	}
	days, err := strconv.Atoi(strings.TrimSuffix(values.SLO.Availability.Window, "d"))
	if err != nil {
		return b, 0, fmt.Errorf("the release's slo.availability.window is %q, want days, as in 30d", values.SLO.Availability.Window)
	}
	// To a millisecond: 99.9 is no binary fraction.
	b.Seconds = math.Round((1-values.SLO.Availability.Target/100)*float64(days)*24*3600*1000) / 1000
	return b, days, nil
}
