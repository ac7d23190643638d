// Package engines compares the evaluation of the alert rules by other engines with Prometheus' own. tests/tools/power writes a sample: the
// series that Prometheus scrapes from some canaries, and when each alert fires in Prometheus. Each engine has a program of its own, in a
// module of its own, that gives it the same series, evaluates the rules by its own ruler, and prints a line of the table.
package engines

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"time"
)

// Sample is what command power writes; its fields are described there.
type Sample struct {
	First, Last, Every int64
	Canaries           []string
	Series             []Series
	Fired              Fired
}

// Series is a series of a Sample: times in milliseconds, and values. A value of nil ends the series.
type Series struct {
	Labels map[string]string
	Times  []int64
	Values []*float64
}

// Fired are the times at which each alert fires for the first time, in milliseconds, by alert and release.
type Fired map[string]map[string]int64

// Add notes that an alert fires. Only the first time counts.
func (f Fired) Add(alert, release string, at int64) {
	if f[alert] == nil {
		f[alert] = map[string]int64{}
	}
	if was, ok := f[alert][release]; !ok || at < was {
		f[alert][release] = at
	}
}

// Read reads a sample.
func Read(path string) (Sample, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return Sample{}, fmt.Errorf("read the sample: %w", err)
	}
	var s Sample
	if err := json.Unmarshal(b, &s); err != nil {
		return Sample{}, fmt.Errorf("read the sample in %s: %w", path, err)
	}
	return s, nil
}

// Outcome is how an engine evaluates a rule file.
type Outcome struct {
	// Ruler and Rules name the engine's ruler and the rule file.
	Ruler, Rules string
	// Fired has the moments that the evaluations are about.
	Fired Fired
	// Late are the times from that moment to the evaluation of each alert; of an alert that is not in it, none.
	Late map[string]time.Duration
}

// late returns the shortest and the longest time from the moment that an evaluation is about to its alert, in seconds.
func (o Outcome) late() string {
	var all []time.Duration
	for alert := range o.Fired {
		all = append(all, o.Late[alert])
	}
	if len(all) == 0 || slices.Max(all) == 0 {
		return "0"
	}
	return fmt.Sprintf("%g to %g", slices.Min(all).Seconds(), slices.Max(all).Seconds())
}

// Header prints the head of the table.
func Header(out io.Writer) {
	_, _ = fmt.Fprintln(out, "| ruler | rules | fires at the same evaluation | at another one | does not fire | fires, and not in Prometheus | seconds later |")
	_, _ = fmt.Fprintln(out, "|---|---|---|---|---|---|---|")
}

// Agree prints the line of an outcome, and the differences to progress. It reports whether it found no difference.
func (s Sample) Agree(o Outcome, out, progress io.Writer) bool {
	var same, moved, missing, extra int
	note := func(alert, release, what string) {
		_, _ = fmt.Fprintf(progress, "%s, %s: %s of canary %s (%s) %s\n", o.Ruler, o.Rules, alert, release, s.describe(release), what)
	}
	for alert, fired := range s.Fired {
		for release, want := range fired {
			got, ok := o.Fired[alert][release]
			switch {
			case !ok:
				missing++
				note(alert, release, "does not fire")
			case got != want:
				moved++
				note(alert, release, fmt.Sprintf("fires %s later", time.Duration(got-want)*time.Millisecond))
			default:
				same++
			}
		}
	}
	for alert, fired := range o.Fired {
		for release := range fired {
			if _, ok := s.Fired[alert][release]; !ok {
				extra++
				note(alert, release, "fires, and not in Prometheus")
			}
		}
	}
	_, _ = fmt.Fprintf(out, "| %s | %s | %d of %d | %d | %d | %d | %s |\n",
		o.Ruler, o.Rules, same, same+moved+missing, moved, missing, extra, o.late())
	return moved+missing+extra == 0
}

func (s Sample) describe(release string) string {
	i, err := strconv.Atoi(release)
	if err != nil || i < 0 || i >= len(s.Canaries) {
		return "unknown"
	}
	return s.Canaries[i]
}
