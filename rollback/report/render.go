package report

import (
	"fmt"
	"strings"
	"time"
)

// String returns the explanation for a terminal.
func (e Explanation) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s, first signal at %s UTC\n%s\n\nWhat to do: %s\n",
		e.Title, e.State, e.Received.UTC().Format(time.DateTime), e.Headline, e.Advice.Text)
	if line := e.Advice.Command.String(); line != "" {
		fmt.Fprintf(&b, "    %s\n", line)
	}
	for _, s := range e.Sections {
		s.write(&b)
	}
	return b.String()
}

// write writes the section in columns, and nothing for a section without facts.
func (s Section) write(b *strings.Builder) {
	if len(s.Facts) == 0 {
		return
	}
	fmt.Fprintf(b, "\n%s\n", s.Title)
	names, stamps := 0, 0
	for _, f := range s.Facts {
		names, stamps = max(names, len(f.Name)), max(stamps, len(f.stamp()))
	}
	for _, f := range s.Facts {
		fmt.Fprintf(b, "  %-*s%-*s  %s\n", stamps, f.stamp(), names, f.Name, strings.TrimSuffix(f.Text+" <"+f.Link+">", " <>"))
	}
}

// stamp is the fact's time in a column of its own; "" in a fact without a time.
func (f Fact) stamp() string {
	if f.At.IsZero() {
		return ""
	}
	return fmt.Sprintf("%s %10s  ", clock(f.At), f.Since())
}

// Since is the time after the receipt of the first signal, such as "+0.070s"; "" in a
// fact without a time.
func (f Fact) Since() string {
	if f.At.IsZero() {
		return ""
	}
	if f.After.Abs() >= 10*time.Minute {
		sign := "+"
		if f.After < 0 {
			sign = ""
		}
		return sign + f.After.Round(time.Second).String()
	}
	return fmt.Sprintf("%+.3fs", f.After.Seconds())
}

// clock is a time of day, in UTC, as explanations show it.
func clock(t time.Time) string { return t.UTC().Format("15:04:05.000") }
