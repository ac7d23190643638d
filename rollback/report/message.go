package report

import (
	"fmt"
	"slices"
	"strings"

	"github.com/upcommerce/backout/rollback"
)

// Bounds of what a message shows of a report, in runes or lines. Slack accepts 3,000
// runes in a section, after the escaping, and 150 in a header.
const (
	MaxTitle   = 150
	MaxSection = 3000
	MaxShown   = 700
	MaxAlerts  = 5
	MaxSteps   = 10
)

// Mark begins a title, so that readers see its urgency without colour.
func (r *Report) Mark() string {
	switch {
	case r.NeedsHelp:
		return "[HELP] "
	case r.Closed:
		return "[closed] "
	default:
		return "[open] "
	}
}

// AlertLines describes the alerts, one a line. Their texts come from other systems.
func (r *Report) AlertLines() []string {
	var lines []string
	for i, a := range r.Alerts {
		if i == MaxAlerts {
			return append(lines, fmt.Sprintf("and %d more", len(r.Alerts)-i))
		}
		text := alertName(a.Name)
		if a.Operator != "" {
			text = "ordered by " + a.Operator
		}
		text += colon(a.Summary)
		if a.Description != "" {
			text += " (" + a.Description + ")"
		}
		if a.Resolved {
			text += " [resolved]"
		}
		lines = append(lines, rollback.Short(rollback.Printable(text), MaxShown))
	}
	return lines
}

// StepLines describes the steps that are done, one a line.
func (r *Report) StepLines() []string {
	var lines []string
	for i, d := range r.Done {
		if i == MaxSteps {
			return append(lines, fmt.Sprintf("and %d more", len(r.Done)-i))
		}
		lines = append(lines, rollback.Short(rollback.Printable(d), MaxShown/3))
	}
	return lines
}

// Latest returns the text of the newest entry, or of the newest that asks for help if
// the record needs it; "" if no entry has happened.
func (r *Report) Latest() string {
	for _, e := range slices.Backward(r.Timeline) {
		if e.Kind != EntrySignal && (e.NeedsHelp || !r.NeedsHelp) {
			return rollback.Short(rollback.Printable(e.Text), MaxShown)
		}
	}
	return ""
}

// Why returns the verdict in words, with the decision's own reason.
func (r *Report) Why() string {
	text := fmt.Sprintf("%s: %s", r.Verdict, r.Meaning)
	if r.Reason != "" {
		text += " (" + rollback.Printable(r.Reason) + ")"
	}
	return rollback.Short(text, MaxShown)
}

// Text returns the report as plain text in several lines, for channels without
// markup of their own.
func (r *Report) Text() string {
	var b strings.Builder
	line := func(format string, args ...any) { _, _ = fmt.Fprintf(&b, format+"\n", args...) }
	line("%s%s", r.Mark(), r.Title)
	for _, s := range r.AlertLines() {
		line("alert: %s", s)
	}
	for _, s := range r.StepLines() {
		line("done: %s", s)
	}
	if text := r.Latest(); text != "" {
		line("now: %s", text)
	}
	if len(r.Releases) > 0 {
		line("releases: %s", rollback.Short(strings.Join(r.Releases, ", "), MaxShown))
	}
	line("why: %s", r.Why())
	for _, c := range r.Commands {
		line("%s: %s", c.Why, c.Line)
	}
	for _, l := range r.Links() {
		line("%s: %s", l.Name, l.URL)
	}
	return strings.TrimRight(b.String(), "\n")
}

// Link is an address with its name. The name is never an alert's text.
type Link struct{ Name, URL string }

// Links returns the address of the dashboard and of the first alert's expression.
func (r *Report) Links() []Link {
	var all []Link
	if r.Dashboard != "" {
		all = append(all, Link{Name: "dashboard", URL: r.Dashboard})
	}
	for i, a := range r.Alerts {
		if a.Link != "" && i < MaxAlerts {
			all = append(all, Link{Name: "expression", URL: a.Link})
			break
		}
	}
	return all
}
