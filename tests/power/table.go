package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
)

// method is a way to judge, with its settings.
type method struct {
	name  string
	fired func(Outcome) (time.Duration, bool)
}

// header prints the head of a table.
func header(out io.Writer, columns ...string) {
	fmt.Fprintf(out, "\n| %s |\n|%s\n", strings.Join(columns, " | "), strings.Repeat("---|", len(columns)))
}

// methods are our rules, and each rival at its usual threshold and at the one at which it accuses as many of the healthy canaries
// with independent requests as our rules do, but at least one in a thousand.
func (d *duel) methods() []method {
	all := []method{{"**these rules**", func(o Outcome) (time.Duration, bool) { return o.first() }}}
	healthy := d.outcomes[1]
	allowed := max(alarms(healthy), len(healthy)/1000)
	for _, r := range d.rivals {
		all = append(all, r.at(r.Usual, "usual"), r.at(tune(healthy, r.Name, allowed), "tuned"))
	}
	return all
}

// at is the rival with a threshold.
func (r Rival) at(threshold float64, how string) method {
	return method{fmt.Sprintf("%s, %s: > %.3g", r.Name, how, threshold), func(o Outcome) (time.Duration, bool) {
		return o.above(r.Name, threshold)
	}}
}

// printHealthy prints how many of 1,000 healthy canaries are accused.
func (d *duel) printHealthy(out io.Writer) {
	columns := []string{d.title + ": judged by"}
	for _, clump := range []int{1, 3, 10} {
		columns = append(columns, fmt.Sprintf("clumps of %d (%d canaries)", clump, len(d.outcomes[clump])))
	}
	header(out, columns...)
	methods := []method{{"**these rules**", func(o Outcome) (time.Duration, bool) { return o.first() }}}
	for _, alert := range d.alerts() {
		methods = append(methods, method{alert, func(o Outcome) (time.Duration, bool) { return o.first(alert) }})
	}
	for _, r := range d.rivals {
		methods = append(methods, r.at(r.Usual, "usual"))
	}
	for _, m := range methods {
		fmt.Fprintf(out, "| %s |", m.name)
		for _, clump := range []int{1, 3, 10} {
			n := len(d.outcomes[clump])
			k := len(times(d.outcomes[clump], m.fired))
			low, high := interval(k, n)
			fmt.Fprintf(out, " %.2f (%.2f to %.2f) |", 1000*float64(k)/float64(n), 1000*low, 1000*high)
		}
		fmt.Fprintln(out)
	}
}

// alerts are those that accused anyone, in order.
func (d *duel) alerts() []string {
	seen := map[string]bool{}
	for _, outcomes := range d.outcomes {
		for _, o := range outcomes {
			for alert := range o.Fired {
				seen[alert] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(seen))
}

// print prints how soon a method accused bad canaries.
func (m method) print(out io.Writer, fault string, outcomes []Outcome) {
	n := len(outcomes)
	t := times(outcomes, m.fired)
	fmt.Fprintf(out, "| %s | %s |", fault, m.name)
	for _, d := range []time.Duration{5 * time.Minute, 10 * time.Minute, 30 * time.Minute} {
		fmt.Fprintf(out, " %.0f%% |", caught(t, n, d))
	}
	for _, share := range []float64{0.5, 0.95} {
		if d, ok := quantile(t, n, share); ok {
			fmt.Fprintf(out, " %.0f s |", d.Seconds())
		} else {
			fmt.Fprint(out, " never |")
		}
	}
	fmt.Fprintln(out)
}
