package handler

import (
	"fmt"
	"strings"
	"time"

	"github.com/upcommerce/backout/rollback/report"
)

// phase is a stretch of a record's time, by the canary's traffic in it. It is a class of
// the style sheet.
type phase string

const (
	phaseSuspect   phase = "suspect"
	phaseNoTraffic phase = "no-traffic"
	phaseVerifying phase = "verifying"
	phaseEnded     phase = "ended"
)

// rowTimeline is a record's timeline on one line of the table of records.
type rowTimeline struct {
	Bars    []phaseBar
	Markers []milestoneMarker
	// Text says the same in words.
	Text string
}

// phaseBar is one phase, drawn as a bar.
type phaseBar struct {
	X, Width, Title string
	Phase           phase
}

// milestoneMarker is one milestone, drawn as a circle.
type milestoneMarker struct {
	X, Title  string
	Milestone report.MilestoneName
}

// rowTimeline draws the row: when the suspect canary gets traffic, when no canary does,
// and when the target's canary does and is verified. An open row lasts until now.
func (s timeScale) rowTimeline(r report.Row, now time.Time) rowTimeline {
	begin, end := span(r, now)
	if begin.IsZero() {
		return rowTimeline{Text: "no times are known"}
	}
	var t rowTimeline
	var texts []string
	current, from := phaseSuspect, begin
	for _, m := range r.Milestones {
		after := m.At.Sub(begin)
		title := milestoneLabel(m.Name) + " " + duration(after)
		texts = append(texts, title)
		t.Markers = append(t.Markers, milestoneMarker{X: percent(s.position(after)), Title: title, Milestone: m.Name})
		if next, ok := phaseAfter(m.Name); ok {
			t.Bars = append(t.Bars, s.phaseBar(current, from.Sub(begin), after))
			current, from = next, m.At
		}
	}
	if end.After(from) {
		t.Bars = append(t.Bars, s.phaseBar(current, from.Sub(begin), end.Sub(begin)))
	}
	t.Text = strings.Join(texts, ", ")
	return t
}

func (s timeScale) phaseBar(p phase, from, to time.Duration) phaseBar {
	x, width := s.extent(from, to)
	return phaseBar{X: x, Width: width, Phase: p, Title: fmt.Sprintf("%s: from %s to %s", p.label(), duration(from), duration(to))}
}

// phaseAfter returns the phase that begins with a milestone; false if none does.
func phaseAfter(m report.MilestoneName) (phase, bool) {
	switch m {
	case report.MilestoneZero:
		return phaseNoTraffic, true
	case report.MilestoneWeightRestored:
		return phaseVerifying, true
	case report.MilestoneVerified, report.MilestoneHoldEnded:
		return phaseEnded, true
	case report.MilestoneFired, report.MilestoneReceived, report.MilestoneRolledBack:
	}
	return "", false
}

func (p phase) label() string {
	switch p {
	case phaseSuspect:
		return "the suspect canary gets traffic"
	case phaseNoTraffic:
		return "no canary gets traffic"
	case phaseVerifying:
		return "the target's canary gets traffic; backout verifies it"
	case phaseEnded:
	}
	return "ended"
}

// milestoneLabel is a milestone as operators read it; an unknown one is shown as it is.
func milestoneLabel(m report.MilestoneName) string {
	switch m {
	case report.MilestoneFired:
		return "alert fired"
	case report.MilestoneReceived:
		return "received"
	case report.MilestoneZero:
		return "weight zero"
	case report.MilestoneRolledBack:
		return "rolled back"
	case report.MilestoneWeightRestored:
		return "weight restored"
	case report.MilestoneVerified:
		return "verified"
	case report.MilestoneHoldEnded:
		return "hold ended"
	}
	return string(m)
}
