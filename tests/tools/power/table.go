package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
)

// method is a rule set with its settings.
type method struct {
	name  string
	fired func(Outcome) (time.Duration, bool)
}

// header prints the head of a table.
func header(out io.Writer, columns ...string) {
	fmt.Fprintf(out, "\n| %s |\n|%s\n", strings.Join(columns, " | "), strings.Repeat("---|", len(columns)))
}

// ours returns the shipped rules.
func ours() method {
	return method{"these rules", func(o Outcome) (time.Duration, bool) { return o.first() }}
}

// tuned returns each rival at the threshold at which it fires for as many of the healthy canaries of every kind as the shipped rules do,
// or for one in a thousand if those fire for fewer.
func (d *comparison) tuned() []method {
	all := []method{ours()}
	allowed := max(alarms(d.mixed), len(d.mixed)/1000)
	for _, r := range d.rivals {
		all = append(all, r.at(tune(d.mixed, r.Name, allowed)))
	}
	return all
}

// documented returns each rival at the threshold in its documentation.
func (d *comparison) documented() []method {
	all := []method{ours()}
	for _, r := range d.rivals {
		all = append(all, r.at(r.Documented))
	}
	return all
}

// at returns the rival with a threshold.
func (r Rival) at(threshold float64) method {
	return method{fmt.Sprintf("%s > %.2g", r.Name, threshold), func(o Outcome) (time.Duration, bool) {
		return o.above(r.Name, threshold)
	}}
}

// printHealthy prints for how many of 1,000 healthy canaries each method fires.
func (d *comparison) printHealthy(out io.Writer) {
	columns := []string{d.title + ": method"}
	for _, clump := range []int{1, 3, 10} {
		columns = append(columns, fmt.Sprintf("clumps of %d (%d canaries)", clump, len(d.outcomes[clump])))
	}
	columns = append(columns, fmt.Sprintf("of every kind (%d canaries)", len(d.mixed)))
	header(out, columns...)
	methods := d.documented()
	for _, alert := range d.alerts() {
		methods = append(methods, method{"of these rules, " + alert, func(o Outcome) (time.Duration, bool) { return o.first(alert) }})
	}
	for _, m := range methods {
		fmt.Fprintf(out, "| %s |", m.name)
		for _, outcomes := range [][]Outcome{d.outcomes[1], d.outcomes[3], d.outcomes[10], d.mixed} {
			n := len(outcomes)
			k := len(times(outcomes, m.fired))
			low, high := interval(k, n)
			fmt.Fprintf(out, " %.2f (%.2f to %.2f) |", 1000*float64(k)/float64(n), 1000*low, 1000*high)
		}
		fmt.Fprintln(out)
	}
}

// alerts returns the alerts that fired for a healthy canary, in order.
func (d *comparison) alerts() []string {
	seen := map[string]bool{}
	for _, outcomes := range [][]Outcome{d.outcomes[1], d.outcomes[3], d.outcomes[10], d.mixed} {
		for _, o := range outcomes {
			for alert := range o.Fired {
				seen[alert] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(seen))
}

// printBad prints how soon each method fires for bad canaries: in each cell the median and the 95th percentile of the seconds, and the
// percentages of canaries caught within 5, 10 and 30 minutes.
func (d *comparison) printBad(out io.Writer) {
	for _, methods := range [][]method{d.tuned(), d.documented()} {
		columns := []string{d.title + ": the canary"}
		for _, m := range methods {
			columns = append(columns, m.name)
		}
		header(out, columns...)
		for i, f := range d.faults {
			fmt.Fprintf(out, "| %s |", f.name)
			for _, m := range methods {
				fmt.Fprintf(out, " %s |", m.speed(d.bad[i]))
			}
			fmt.Fprintln(out)
		}
	}
}

// speed returns a cell of that table.
func (m method) speed(outcomes []Outcome) string {
	n := len(outcomes)
	t := times(outcomes, m.fired)
	var seconds, percent []string
	for _, share := range []float64{0.5, 0.95} {
		s := "never"
		if d, ok := quantile(t, n, share); ok {
			s = fmt.Sprintf("%.0f", d.Seconds())
		}
		seconds = append(seconds, s)
	}
	for _, d := range []time.Duration{5 * time.Minute, 10 * time.Minute, 30 * time.Minute} {
		percent = append(percent, fmt.Sprintf("%.0f", caught(t, n, d)))
	}
	return fmt.Sprintf("%s / %s (%s)", seconds[0], seconds[1], strings.Join(percent, " "))
}
