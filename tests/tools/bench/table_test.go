package bench

import (
	"fmt"
	"io"
	"slices"
	"sync"
	"testing"
	"text/tabwriter"
	"time"
)

// row is one line of the table.
type row struct {
	what string
	// bare and backout are the two things compared, as text.
	bare, backout [2]string
	ratio, target string
	met           bool
}

// table contains the results of a run. It is safe for concurrent use.
type table struct {
	mu    sync.Mutex
	rows  []row
	notes []string
}

func (t *table) add(r row) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rows = append(t.rows, r)
}

// note adds lines below the table.
func (t *table) note(lines ...string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.notes = append(t.notes, lines...)
}

// print writes the table as Markdown that is also readable as text.
func (t *table) print(w io.Writer) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.rows) == 0 && len(t.notes) == 0 {
		return nil
	}
	tab := tabwriter.NewWriter(w, 0, 0, 1, ' ', 0)
	lines := []row{
		{"what", [2]string{"bare p50", "p99"}, [2]string{"backout p50", "p99"}, "ratio", "target", false},
		{"---", [2]string{"---", "---"}, [2]string{"---", "---"}, "---", "---", false},
	}
	for i, r := range slices.Concat(lines, t.rows) {
		met := map[bool]string{true: "yes", false: "no"}[r.met]
		if i < len(lines) {
			met = []string{"met", "---"}[i]
		}
		if r.target == "" {
			met = ""
		}
		_, _ = fmt.Fprintf(tab, "| %s\t| %s\t| %s\t| %s\t| %s\t| %s\t| %s\t| %s\t|\n",
			r.what, r.bare[0], r.bare[1], r.backout[0], r.backout[1], r.ratio, r.target, met)
	}
	if err := tab.Flush(); err != nil {
		return err
	}
	for _, line := range t.notes {
		_, _ = fmt.Fprintln(w, line)
	}
	return nil
}

// samples are the durations of one operation.
type samples []time.Duration

// at returns the quantile q, above 0 and at most 1: the smallest sample that is not
// exceeded by at least this share of all samples.
func (s samples) at(q float64) time.Duration {
	if len(s) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(s))
	i := int(q*float64(len(sorted))+0.999999) - 1
	return sorted[min(max(i, 0), len(sorted)-1)]
}

func (s samples) text() [2]string {
	return [2]string{milliseconds(s.at(0.5)), milliseconds(s.at(0.99))}
}

func milliseconds(d time.Duration) string {
	ms := float64(d) / float64(time.Millisecond)
	if ms < 100 {
		return fmt.Sprintf("%.1f ms", ms)
	}
	return fmt.Sprintf("%.0f ms", ms)
}

// goal is the goal of a comparison.
type goal struct {
	// ratio is the largest ratio of the medians; 0 if there is no such goal.
	ratio float64
	// p99 is the largest p99 of backout; 0 if there is no such goal.
	p99 time.Duration
}

func (g goal) String() string {
	text := ""
	if g.ratio > 0 {
		text = fmt.Sprintf("<= %gx", g.ratio)
	}
	if g.p99 > 0 {
		text += fmt.Sprintf(", p99 < %s", g.p99)
	}
	return text
}

func (g goal) met(ratio float64, ours samples) bool {
	return (g.ratio == 0 || ratio <= g.ratio) && (g.p99 == 0 || ours.at(0.99) < g.p99)
}

// compare reports both as metrics of the benchmark and as a row of the table.
func compare(b *testing.B, what string, bare, ours samples, g goal) {
	b.Helper()
	ratio := float64(ours.at(0.5)) / float64(max(bare.at(0.5), 1))
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(bare.at(0.5))/1e6, "bare-p50-ms")
	b.ReportMetric(float64(bare.at(0.99))/1e6, "bare-p99-ms")
	b.ReportMetric(float64(ours.at(0.5))/1e6, "p50-ms")
	b.ReportMetric(float64(ours.at(0.99))/1e6, "p99-ms")
	b.ReportMetric(ratio, "ratio")
	results.add(row{what, bare.text(), ours.text(), fmt.Sprintf("%.2f", ratio), g.String(), g.met(ratio, ours)})
}
