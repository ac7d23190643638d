package notify

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// Bounds in runes on what is shown of one report. Slack takes 3,000 in a section,
// after the escaping, and 150 in a header.
const (
	maxTitle   = 150
	maxSection = 3000
	maxShown   = 700
	maxAlerts  = 5
	maxDone    = 10
	maxCommand = 500
)

// printable returns s in one line without what a terminal or a reader's eye would
// be misled by.
func printable(s string) string {
	return strings.Join(strings.Fields(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.In(r, unicode.Bidi_Control, unicode.Zl, unicode.Zp) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))), " ")
}

// short bounds s to n runes.
func short(s string, n int) string {
	if runes := []rune(s); len(runes) > n {
		return string(runes[:n-1]) + "…"
	}
	return s
}

// mark begins a title, so that its urgency is seen without colour.
func (r *Report) mark() string {
	switch {
	case r.Help:
		return "[HELP] "
	case r.Over:
		return "[over] "
	default:
		return "[open] "
	}
}

// seenLines tells the alerts; all of it is a stranger's words.
func (r *Report) seenLines() []string {
	var lines []string
	for i, a := range r.Alerts {
		if i == maxAlerts {
			return append(lines, fmt.Sprintf("and %d more", len(r.Alerts)-i))
		}
		text := orUnnamed(a.Name)
		if a.By != "" {
			text = "an order of " + a.By
		}
		if a.Summary != "" {
			text += ": " + a.Summary
		}
		if a.Description != "" {
			text += " (" + a.Description + ")"
		}
		if a.Resolved {
			text += " [resolved]"
		}
		lines = append(lines, short(printable(text), maxShown))
	}
	return lines
}

// doneLines tells what was done.
func (r *Report) doneLines() []string {
	var lines []string
	for i, d := range r.Done {
		if i == maxDone {
			return append(lines, fmt.Sprintf("and %d more", len(r.Done)-i))
		}
		lines = append(lines, short(printable(d), maxShown/3))
	}
	return lines
}

// latest is what stands now: what help is needed for, or what was done last; "" if
// nothing was.
func (r *Report) latest() string {
	for _, l := range slices.Backward(r.Story) {
		if l.Word != Accused && (l.Help || !r.Help) {
			return short(printable(l.Text), maxShown)
		}
	}
	return ""
}

// why is the verdict in words, with the decision's own reason.
func (r *Report) why() string {
	text := fmt.Sprintf("%s: %s", r.Verdict, r.Meaning)
	if r.Reason != "" {
		text += " (" + printable(r.Reason) + ")"
	}
	return short(text, maxShown)
}

// Text returns the report as plain text in several lines, for channels without
// markup of their own.
func (r *Report) Text() string {
	var b strings.Builder
	line := func(format string, args ...any) { _, _ = fmt.Fprintf(&b, format+"\n", args...) }
	line("%s%s", r.mark(), r.Title)
	for _, s := range r.seenLines() {
		line("seen: %s", s)
	}
	for _, d := range r.doneLines() {
		line("done: %s", d)
	}
	if text := r.latest(); text != "" {
		line("now: %s", text)
	}
	if len(r.Releases) > 0 {
		line("releases: %s", short(strings.Join(r.Releases, ", "), maxShown))
	}
	line("why: %s", r.why())
	for _, c := range r.Next {
		line("%s: %s", c.Why, short(c.Line, maxCommand))
	}
	for _, l := range r.links() {
		line("%s: %s", l.name, l.url)
	}
	return strings.TrimRight(b.String(), "\n")
}

// address is a link with its name, which is our own word for it.
type address struct{ name, url string }

func (r *Report) links() []address {
	var all []address
	if r.Dashboard != "" {
		all = append(all, address{"dashboard", r.Dashboard})
	}
	for i, a := range r.Alerts {
		if a.Link != "" && i < maxAlerts {
			all = append(all, address{"alert", a.Link})
			break
		}
	}
	return all
}
