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

// ours is what the shipped rules say.
func ours() method {
	return method{"these rules", func(o Outcome) (time.Duration, bool) { return o.first() }}
}

// tuned is each rival at the threshold at which it accuses as many of the healthy canaries with independent requests as our rules
// do, or one in a thousand if ours accuse fewer.
func (d *duel) tuned() []method {
	all := []method{ours()}
	allowed := max(alarms(d.outcomes[1]), len(d.outcomes[1])/1000)
	for _, r := range d.rivals {
		all = append(all, r.at(tune(d.outcomes[1], r.Name, allowed)))
	}
	return all
}

// usual is each rival at the threshold that its documentation shows.
func (d *duel) usual() []method {
	all := []method{ours()}
	for _, r := range d.rivals {
		all = append(all, r.at(r.Usual))
	}
	return all
}

// at is the rival with a threshold.
func (r Rival) at(threshold float64) method {
	return method{fmt.Sprintf("%s > %.2g", r.Name, threshold), func(o Outcome) (time.Duration, bool) {
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
	methods := d.usual()
	for _, alert := range d.alerts() {
		methods = append(methods, method{"of these rules, " + alert, func(o Outcome) (time.Duration, bool) { return o.first(alert) }})
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

// printBad prints how soon bad canaries are accused: in each field the median and the 95th percentile of the seconds, and how many
// percent are accused within 5, 10 and 30 minutes.
func (d *duel) printBad(out io.Writer) {
	for _, methods := range [][]method{d.tuned(), d.usual()} {
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

// speed is a field of that table.
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
