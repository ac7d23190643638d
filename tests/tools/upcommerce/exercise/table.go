package exercise

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// header returns the column heads of the faults' table.
func header() []string {
	return []string{"a canary that", "counted from", "alert fires", "weight zero", "rolled back", "last bad request", "bad requests", "alert"}
}

// cells returns the cells of a row in that order.
func (s Seconds) cells() []string {
	last := "none"
	if s.Bad > 0 {
		last = fmt.Sprintf("%.1f s", s.Last)
	}
	return []string{
		s.Fault, s.From, fmt.Sprintf("%.1f s", s.Firing), fmt.Sprintf("%.1f s", s.Zero), fmt.Sprintf("%.1f s", s.RolledBack),
		last, fmt.Sprintf("%d of %d", s.Bad, s.Requests), s.Alert,
	}
}

// WriteFaults writes the faults' table for a terminal.
func WriteFaults(w io.Writer, all []Seconds) {
	var text strings.Builder
	t := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, strings.Join(header(), "\t"))
	for _, s := range all {
		fmt.Fprintln(t, strings.Join(s.cells(), "\t"))
	}
	_ = t.Flush()
	for line := range strings.Lines(text.String()) {
		_, _ = io.WriteString(w, "   "+line)
	}
}

// Markdown returns the same table in Markdown.
func Markdown(all []Seconds) string {
	var text strings.Builder
	row := func(cells []string) { fmt.Fprintf(&text, "| %s |\n", strings.Join(cells, " | ")) }
	row(header())
	fmt.Fprintln(&text, "|"+strings.Repeat("---|", len(header())))
	for _, s := range all {
		row(s.cells())
	}
	return text.String()
}
