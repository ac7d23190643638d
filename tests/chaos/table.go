package chaos

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// Result is the result of a trial.
type Result struct {
	Trial
	// Err says why the trial could not run; it says nothing about backout.
	Err    error
	Broken []Broken
	// Happened is how many faults occurred.
	Happened int
	// Done is how many rollbacks were finished, Remains how many revisions of
	// interrupted ones are left.
	Done, Remains int
	// Took is from the alert to the closed record, Lasted the whole trial.
	Took, Lasted time.Duration
	// Dir has the logs of a trial that went wrong.
	Dir string
}

// Right reports whether every rule was kept.
func (r Result) Right() bool { return r.Err == nil && len(r.Broken) == 0 }

// keeps reports whether none of these rules was broken.
func (r Result) keeps(rules ...Rule) bool {
	return r.Err == nil && !slices.ContainsFunc(r.Broken, func(b Broken) bool { return slices.Contains(rules, b.Rule) })
}

// Wrong names the rules that were broken, each once.
func (r Result) Wrong() string {
	var rules []string
	if r.Err != nil {
		rules = append(rules, "the trial could not run")
	}
	for _, b := range r.Broken {
		rules = append(rules, "not so: "+string(b.Rule))
	}
	slices.Sort(rules)
	return strings.Join(slices.Compact(rules), "; ")
}

// String returns the result in one line, and a line for each broken rule.
func (r Result) String() string {
	var s strings.Builder
	fmt.Fprintf(&s, "%s, %s: ", r.Kind, r.Name)
	switch {
	case r.Err != nil:
		fmt.Fprintf(&s, "could not run: %v", r.Err)
	case r.Right():
		fmt.Fprint(&s, "right")
	default:
		fmt.Fprint(&s, "WRONG")
	}
	fmt.Fprintf(&s, ", closed after %.1fs of %.1fs, rollbacks %d", r.Took.Seconds(), r.Lasted.Seconds(), r.Done)
	if r.Remains > 0 {
		fmt.Fprintf(&s, ", interrupted %d", r.Remains)
	}
	if (r.Fault != nil || r.Order != nil && r.Kind != nothing) && r.Happened == 0 {
		fmt.Fprint(&s, ", the fault did not occur")
	}
	for _, b := range r.Broken {
		fmt.Fprintf(&s, "\n    %s: %v", b.Rule, b.Err)
	}
	if !r.Right() {
		fmt.Fprintf(&s, "\n    logs: %s", r.Dir)
	}
	return s.String()
}

// Print writes the table of all results.
func Print(w io.Writer, results []Result) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "fault\ttrials\tfaults\tright end\trollbacks\tmost\tinterrupted\ttraffic right\trecords true\tslowest")
	total := row{kind: "all"}
	var rows []*row
	for _, r := range results {
		i := slices.IndexFunc(rows, func(row *row) bool { return row.kind == r.Kind })
		if i < 0 {
			i, rows = len(rows), append(rows, &row{kind: r.Kind})
		}
		rows[i].add(r)
		total.add(r)
	}
	for _, r := range append(rows, &total) {
		_, _ = fmt.Fprintf(table, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%.1fs\n", r.kind, r.tried, r.faults, r.right, r.done, r.most,
			r.remains, r.traffic, r.records, r.slowest.Seconds())
	}
	return table.Flush()
}

// row sums up a kind.
type row struct {
	kind                                                        string
	tried, faults, right, done, most, remains, traffic, records int
	slowest                                                     time.Duration
}

func (w *row) add(r Result) {
	w.tried++
	w.faults += r.Happened
	for rules, count := range map[*int]bool{
		&w.right:   r.keeps(RuleEnds, RuleRevision, RulePending, RuleOnce, RuleUpgrade, RuleAlone, RuleAsks),
		&w.traffic: r.keeps(RuleTraffic),
		&w.records: r.keeps(RuleRecord, RuleZero),
	} {
		if count {
			*rules++
		}
	}
	w.done += r.Done
	w.most = max(w.most, r.Done)
	w.remains += r.Remains
	w.slowest = max(w.slowest, r.Took)
}
