package handler

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/upcommerce/backout/rollback/report"
)

// linearBelow is where the logarithmic scale begins: shorter times are drawn almost
// linearly, so that the first moment can be zero.
const linearBelow = 10 * time.Millisecond

// minLongest keeps timelines of short records comparable.
const minLongest = 5 * time.Minute

// timeScale maps a time since a record's first moment to a position from 0 to 100
// percent. It is logarithmic, because a shed takes milliseconds and a verification
// minutes, and both have to be visible.
type timeScale struct {
	longest time.Duration
}

// newTimeScale returns a scale on which every row fits; open rows last until now.
func newTimeScale(rows []report.Row, now time.Time) timeScale {
	s := timeScale{longest: minLongest}
	for _, r := range rows {
		if begin, end := span(r, now); !begin.IsZero() {
			s.longest = max(s.longest, end.Sub(begin))
		}
	}
	return s
}

// span returns the row's first milestone and its last one, or now for an open row. Both
// are zero if it has none.
func span(r report.Row, now time.Time) (begin, end time.Time) {
	if len(r.Milestones) == 0 {
		return time.Time{}, time.Time{}
	}
	begin, end = r.Milestones[0].At, r.Milestones[len(r.Milestones)-1].At
	if r.Open() {
		end = now
	}
	return begin, end
}

// position returns where a time since the first moment is, in percent.
func (s timeScale) position(d time.Duration) float64 {
	d = min(max(d, 0), s.longest)
	place := func(d time.Duration) float64 { return math.Log10(1 + float64(d)/float64(linearBelow)) }
	return math.Round(10000*place(d)/place(s.longest)) / 100
}

// extent returns the position and the width of a stretch of time, as SVG attributes.
func (s timeScale) extent(from, to time.Duration) (x, width string) {
	begin := s.position(from)
	return percent(begin), percent(math.Round(100*(s.position(to)-begin)) / 100)
}

func percent(x float64) string { return strconv.FormatFloat(x, 'f', -1, 64) + "%" }

// tick is one mark of the axis.
type tick struct {
	X     string
	Label string
	// Anchor is SVG's text-anchor.
	Anchor string
}

func (s timeScale) ticks() []tick {
	ticks := []tick{{X: "0%", Label: "0", Anchor: "start"}}
	for _, t := range []struct {
		at    time.Duration
		label string
	}{
		{100 * time.Millisecond, "0.1 s"},
		{time.Second, "1 s"},
		{10 * time.Second, "10 s"},
		{time.Minute, "1 min"},
		{10 * time.Minute, "10 min"},
		{time.Hour, "1 h"},
		{10 * time.Hour, "10 h"},
		{100 * time.Hour, "4 d"},
		{1000 * time.Hour, "42 d"},
	} {
		// A label at the very end would be cut off.
		if x := s.position(t.at); t.at < s.longest && x < 97 {
			ticks = append(ticks, tick{X: percent(x), Label: t.label, Anchor: "middle"})
		}
	}
	return ticks
}

// duration is a duration as timelines show it.
func duration(d time.Duration) string {
	switch {
	case d < time.Second:
		return fmt.Sprintf("%.3f s", d.Seconds())
	case d < 2*time.Minute:
		return fmt.Sprintf("%.1f s", d.Seconds())
	default:
		return d.Round(time.Second).String()
	}
}

// age is how long ago something happened, in its largest unit.
func age(now, at time.Time) string {
	d := max(now.Sub(at), 0)
	switch {
	case d < 2*time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", int(d.Hours()))
	default:
		return fmt.Sprintf("%d days", int(d.Hours()/24))
	}
}
