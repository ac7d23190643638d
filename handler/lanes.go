package handler

import (
	"cmp"
	"slices"
	"time"

	"github.com/upcommerce/backout/rollback"
)

// lane is one line of a record's large timeline.
type lane struct {
	Name, Kind string
	X, Width   string
	// Dot says that the bar is too short to be seen.
	Dot bool
	// When says in words when it began and ended.
	When string
	from time.Duration
}

// chart is a record's large timeline.
type chart struct {
	Lanes []lane
	Axis  []tick
}

// newChart draws every step of the record, each on a line of its own, from the
// first alert on. What lasts still reaches to now.
func newChart(r rollback.Record, now time.Time) chart {
	row := rollback.Glance(r)
	begin, end := span(row, now)
	if begin.IsZero() {
		return chart{}
	}
	if r.Closed.After(end) {
		end = r.Closed
	}
	s := scale{longest: max(minLongest, end.Sub(begin))}
	c := chart{Axis: s.ticks()}
	add := func(name, kind string, from, to time.Time) {
		if from.IsZero() {
			return
		}
		lasts := to.IsZero()
		if lasts {
			to = end
		}
		l := s.lane(name, kind, from.Sub(begin), to.Sub(begin))
		if lasts {
			l.When = "since " + since(from.Sub(begin))
		}
		c.Lanes = append(c.Lanes, l)
	}
	at := make(map[rollback.MomentKind]time.Time)
	for _, m := range row.Moments {
		at[m.What] = m.At
	}
	add("alert fires", "exposed", begin, resolved(r))
	add("look ahead", "work", started(r.Check), done(r.Check))
	add("weight to zero", "work", started(r.Shed), done(r.Shed))
	add("canary without traffic", "dark", at[rollback.MomentZero], first(at[rollback.MomentRaised], at[rollback.MomentReleased]))
	add("Helm rollback", "work", started(r.Rollback), done(r.Rollback))
	add("pods ready, weight raised", "work", started(r.Raise), done(r.Raise))
	add("watched", "watched", at[rollback.MomentRaised], done(r.Verify))
	slices.SortStableFunc(c.Lanes, func(a, b lane) int { return cmp.Compare(a.from, b.from) })
	return c
}

func (s scale) lane(name, kind string, from, to time.Duration) lane {
	b := s.bar(kind, from, to)
	when := "at " + since(from)
	if to-from >= time.Millisecond {
		when = since(from) + " to " + since(to)
	}
	return lane{Name: name, Kind: kind, X: b.X, Width: b.Width, Dot: s.at(to)-s.at(from) < 1, When: when, from: from}
}

// resolved is when the last of the record's alerts was over; zero if one is not.
func resolved(r rollback.Record) time.Time {
	var last time.Time
	for _, a := range r.Accusations {
		if a.Resolved.IsZero() {
			return time.Time{}
		}
		if a.Resolved.After(last) {
			last = a.Resolved
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

// first returns the first time that is known.
func first(times ...time.Time) time.Time {
	for _, t := range times {
		if !t.IsZero() {
			return t
		}
	}
	return time.Time{}
}
