package handler

import (
	"testing"
	"time"

	"github.com/upcommerce/backout/rollback"
)

func TestScale(t *testing.T) {
	s := scale{longest: 10 * time.Minute}
	if s.at(0) != 0 || s.at(10*time.Minute) != 100 || s.at(time.Hour) != 100 || s.at(-time.Second) != 0 {
		t.Errorf("the scale begins at 0 and ends at 100 percent: got %v %v", s.at(0), s.at(10*time.Minute))
	}
	last := -100.0
	for _, d := range []time.Duration{0, 30 * time.Millisecond, 70 * time.Millisecond, time.Second, 2 * time.Minute, 10 * time.Minute} {
		if at := s.at(d); at < last+3 {
			t.Errorf("milliseconds and minutes are both to be seen: %s is at %v, only %v after the one before", d, at, at-last)
		} else {
			last = at
		}
	}
	for _, tick := range s.ticks() {
		if tick.Label == "10 min" {
			t.Error("a label at the very end would be cut off")
		}
	}
}

func TestStrip(t *testing.T) {
	at := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	row := rollback.Row{Closed: at.Add(time.Minute), Moments: []rollback.Moment{
		{What: rollback.MomentFired, At: at},
		{What: rollback.MomentReceived, At: at.Add(time.Second)},
		{What: rollback.MomentZero, At: at.Add(2 * time.Second)},
		{What: rollback.MomentRolledBack, At: at.Add(3 * time.Second)},
		{What: rollback.MomentRaised, At: at.Add(4 * time.Second)},
		{What: rollback.MomentJudged, At: at.Add(time.Minute)},
	}}
	s := newScale([]rollback.Row{row}, at.Add(time.Hour))
	got := s.strip(row, at.Add(time.Hour))
	var kinds []string
	for _, b := range got.Bars {
		kinds = append(kinds, b.Kind)
	}
	if len(kinds) != 3 || kinds[0] != "exposed" || kinds[1] != "dark" || kinds[2] != "watched" || len(got.Points) != 6 {
		t.Errorf("traffic, none, watched, and a point for each moment: got %v, %d points", kinds, len(got.Points))
	}
	row.Closed, row.Moments = time.Time{}, row.Moments[:3]
	got = s.strip(row, at.Add(5*time.Minute))
	if last := got.Bars[len(got.Bars)-1]; last.Kind != "dark" || last.Title != "no canary gets traffic: from 2.0 s to 5m0s" {
		t.Errorf("what lasts reaches to now: got %+v", last)
	}
	if got := s.strip(rollback.Row{}, at); len(got.Bars) != 0 || got.Text == "" {
		t.Errorf("a record without times has none: got %+v", got)
	}
}
