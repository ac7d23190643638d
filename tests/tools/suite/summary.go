package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// slow is the number of slowest tests in a summary.
const slow = 10

// summary prints what the run did, and returns an error if anything failed.
func (s *suite) summary(results []result) error {
	failed := summarize(s.out, results, time.Since(s.begun))
	if failed {
		return errFailed
	}
	return nil
}

// named is a test with its package.
type named struct {
	result
	test
}

// summarize prints the counts, the failures with their logs and what each said last, the skips with their reasons, and the slowest
// tests. It reports whether anything failed. Counts are of tests and subtests; the slowest are tests only, because subtests are
// part of them.
func summarize(out io.Writer, results []result, took time.Duration) (failed bool) {
	count := map[string]int{}
	var top, skips, fails []named
	for _, r := range results {
		for _, t := range r.tests {
			count[t.outcome]++
			n := named{r, t}
			switch {
			case t.outcome == "skip":
				skips = append(skips, n)
			case t.outcome == "fail":
				fails = append(fails, n)
			}
			if !strings.Contains(t.name, "/") {
				top = append(top, n)
			}
		}
	}
	slices.SortStableFunc(top, func(a, b named) int { return cmp.Compare(b.test.took, a.test.took) })

	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(out, "\nThe slowest tests\n")
	for _, n := range top[:min(slow, len(top))] {
		fmt.Fprintf(w, "  %.1fs\t%s\t%s\n", n.test.took.Seconds(), n.result.name(), n.test.name)
	}
	_ = w.Flush()
	for _, n := range skips {
		fmt.Fprintf(out, "skipped  %s %s: %s\n", n.result.name(), n.test.name, n.reason)
	}
	for _, r := range results {
		if r.broken != "" {
			failed = true
			fmt.Fprintf(out, "FAILED   %s: %s; %s\n", r.name(), r.broken, r.log)
		}
	}
	for _, n := range fails {
		failed = true
		fmt.Fprintf(out, "FAILED   %s %s; %s\n", n.result.name(), n.test.name, n.log)
		for _, line := range n.said {
			fmt.Fprintf(out, "           %s\n", line)
		}
	}
	if line := keptLine(results); line != "" {
		fmt.Fprintln(out, line)
	}
	fmt.Fprintf(out, "%d passed, %d failed, %d skipped in %s\n", count["pass"], count["fail"], count["skip"], took.Round(time.Second))
	return failed
}
