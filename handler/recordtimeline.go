package handler

import (
	"cmp"
	"slices"
	"time"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/report"
)

// recordTimeline is the timeline on a record's page, with one lane for each step.
type recordTimeline struct {
	Lanes []lane
	Axis  []tick
}

// lane is one step, or one phase, on a line of its own.
type lane struct {
	Name     string
	X, Width string
	// Class is that of the style sheet: a phase, or laneStep.
	Class string
	// Dot says that the bar is too short to be seen.
	Dot bool
	// When says in words when it began and ended.
	When string

	from time.Duration
}

// laneStep is the class of a step's lane.
const laneStep = "step"

// newRecordTimeline draws every step of the record, from the first alert on. Steps that go
// on last until now.
func newRecordTimeline(r rollback.Record, now time.Time) recordTimeline {
	row := report.NewRow(r)
	begin, end := span(row, now)
	if begin.IsZero() {
		return recordTimeline{}
	}
	if r.Closed.After(end) {
		end = r.Closed
	}
	s := timeScale{longest: max(minLongest, end.Sub(begin))}
	t := recordTimeline{Axis: s.ticks()}
	add := func(name, class string, from, to time.Time) {
		if from.IsZero() {
			return
		}
		goesOn := to.IsZero()
		if goesOn {
			to = end
		}
		l := s.lane(from.Sub(begin), to.Sub(begin))
		l.Name, l.Class = name, class
		if goesOn {
			l.When = "since " + duration(from.Sub(begin))
		}
		t.Lanes = append(t.Lanes, l)
	}
	step := func(name string, s *rollback.Step) { add(name, laneStep, started(s), done(s)) }
	at := make(map[report.MilestoneName]time.Time)
	for _, m := range row.Milestones {
		at[m.Name] = m.At
	}
	add("alert fires", string(phaseSuspect), begin, resolved(r))
	step("preflight", r.Preflight)
	step("weight to zero", r.Shed)
	add("canary without traffic", string(phaseNoTraffic), at[report.MilestoneZero], cmp.Or(at[report.MilestoneWeightRestored], at[report.MilestoneHoldEnded]))
	step("Helm rollback", r.Rollback)
	if r.HoldsTarget() {
		step("pods ready, canary held", r.Restore)
	} else {
		step("pods ready, weight restored", r.Restore)
	}
	add("verification", string(phaseVerifying), at[report.MilestoneWeightRestored], done(r.Verify))
	slices.SortStableFunc(t.Lanes, func(a, b lane) int { return cmp.Compare(a.from, b.from) })
	return t
}

func (s timeScale) lane(from, to time.Duration) lane {
	x, width := s.extent(from, to)
	when := "at " + duration(from)
	if to-from >= time.Millisecond {
		when = duration(from) + " to " + duration(to)
	}
	return lane{X: x, Width: width, Dot: s.position(to)-s.position(from) < 1, When: when, from: from}
}

// resolved returns when the last of the record's alerts was resolved; zero if one still
// fires.
func resolved(r rollback.Record) time.Time {
	var last time.Time
	for _, s := range r.Signals {
		if s.Resolved.IsZero() {
			return time.Time{}
		}
		if s.Resolved.After(last) {
			last = s.Resolved
		}
	}
	return last
}

func started(s *rollback.Step) time.Time {
	if s == nil {
		return time.Time{}
	}
	return s.Started
}

func done(s *rollback.Step) time.Time {
	if s == nil {
		return time.Time{}
	}
	return s.Done
}
