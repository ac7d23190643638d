package handler

import (
	"slices"
	"testing"
	"time"

	"github.com/upcommerce/backout/rollback/report"
)

func TestTimeScaleIsLogarithmic(t *testing.T) {
	s := timeScale{longest: 10 * time.Minute}
	if s.position(0) != 0 || s.position(10*time.Minute) != 100 || s.position(time.Hour) != 100 || s.position(-time.Second) != 0 {
		t.Errorf("the scale begins at 0 and ends at 100 percent: got %v %v", s.position(0), s.position(10*time.Minute))
	}
	last := -100.0
	for _, d := range []time.Duration{0, 30 * time.Millisecond, 70 * time.Millisecond, time.Second, 2 * time.Minute, 10 * time.Minute} {
		if at := s.position(d); at < last+3 {
			t.Errorf("milliseconds and minutes are both visible: %s is at %v, only %v after the previous one", d, at, at-last)
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

func TestRowTimeline(t *testing.T) {
	at := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	row := report.Row{Closed: at.Add(time.Minute), Milestones: []report.Milestone{
		{Name: report.MilestoneFired, At: at},
		{Name: report.MilestoneReceived, At: at.Add(time.Second)},
		{Name: report.MilestoneZero, At: at.Add(2 * time.Second)},
		{Name: report.MilestoneRolledBack, At: at.Add(3 * time.Second)},
		{Name: report.MilestoneWeightRestored, At: at.Add(4 * time.Second)},
		{Name: report.MilestoneVerified, At: at.Add(time.Minute)},
	}}
	s := newTimeScale([]report.Row{row}, at.Add(time.Hour))
	got := s.rowTimeline(row, at.Add(time.Hour))
	var phases []phase
	for _, b := range got.Bars {
		phases = append(phases, b.Phase)
	}
	if !slices.Equal(phases, []phase{phaseSuspect, phaseNoTraffic, phaseVerifying}) || len(got.Markers) != 6 {
		t.Errorf("the suspect gets traffic, no canary does, the target's canary is verified, with a marker for each milestone: got %v, %d markers", phases, len(got.Markers))
	}
	row.Closed, row.Milestones = time.Time{}, row.Milestones[:3]
	got = s.rowTimeline(row, at.Add(5*time.Minute))
	if last := got.Bars[len(got.Bars)-1]; last.Phase != phaseNoTraffic || last.Title != "no canary gets traffic: from 2.0 s to 5m0s" {
		t.Errorf("a phase that goes on lasts until now: got %+v", last)
	}
	if got := s.rowTimeline(report.Row{}, at); len(got.Bars) != 0 || got.Text == "" {
		t.Errorf("a record without milestones has no bars: got %+v", got)
	}
}
