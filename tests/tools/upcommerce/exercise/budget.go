package exercise

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Budget is the error budget of the objective in the chart's values.
type Budget struct {
	// Seconds is the total outage that the window allows; Source is the command that
	// returns target and window.
	Seconds float64
	Source  string
	// Left is the part that is left, in percent; Query is its query.
	Left  float64
	Query string
}

// ErrorBudget returns the error budget of the release and how much is left of it. The
// seconds that are used up are the share of failed requests, summed over the time with
// traffic. It returns an error if Prometheus has no traffic, or if the budget is used up.
func ErrorBudget(ctx context.Context, g *Ground) (Budget, error) {
	b, days, err := g.objective(ctx)
	if err != nil {
		return b, err
	}
	if _, err := g.query(ctx, fmt.Sprintf(`sum(http_requests_total{namespace=%q}) > 0`, Namespace)); err != nil {
		return b, err
	}
	const step = 15 // seconds
	b.Query = fmt.Sprintf(`100 * (1 - %d * (sum_over_time((
  sum(rate(http_requests_total{namespace=%q,code=~"5.."}[1m]))
  / (sum(rate(http_requests_total{namespace=%q}[1m])) > 0)
)[%dd:%ds]) or vector(0)) / %v)`, step, Namespace, Namespace, days, step, b.Seconds)
	b.Left, err = g.query(ctx, b.Query)
	if err == nil && (b.Left <= 0 || b.Left > 100) {
		err = fmt.Errorf("%.3f%% of the %v seconds are left, want more than 0%% and at most 100%%", b.Left, b.Seconds)
	}
	return b, err
}

// objective reads the availability objective of the release's values, and its days.
func (g *Ground) objective(ctx context.Context) (Budget, int, error) {
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
	// Rounded to a millisecond: 99.9 has no exact binary fraction.
	b.Seconds = math.Round((1-values.SLO.Availability.Target/100)*float64(days)*24*3600*1000) / 1000
	return b, days, nil
}
