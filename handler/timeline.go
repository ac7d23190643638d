package handler

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/upcommerce/backout/rollback"
)

// grain is where the logarithmic scale begins: what is shorter is drawn almost
// linearly, so that the start of everything can be zero.
const grain = 10 * time.Millisecond

// scale maps a time since a record's first moment to a place from 0 to 100
// percent. It is logarithmic: a shed takes milliseconds, a judgement minutes, and
// both are to be seen.
type scale struct {
	longest time.Duration
}

// minLongest keeps pages with short records comparable.
const minLongest = 5 * time.Minute

// newScale takes in every row. What lasts still reaches to now.
func newScale(rows []rollback.Row, now time.Time) scale {
	s := scale{longest: minLongest}
	for _, r := range rows {
		if begin, end := span(r, now); !begin.IsZero() {
			s.longest = max(s.longest, end.Sub(begin))
		}
	}
	return s
}

// span is from a record's first moment to its last one, or to now.
func span(r rollback.Row, now time.Time) (begin, end time.Time) {
	if len(r.Moments) == 0 {
		return time.Time{}, time.Time{}
	}
	begin, end = r.Moments[0].At, r.Moments[len(r.Moments)-1].At
	if r.Open() {
		end = now
	}
	return begin, end
}

// at returns the place of a time since the beginning, in percent.
func (s scale) at(d time.Duration) float64 {
	d = min(max(d, 0), s.longest)
	place := func(d time.Duration) float64 { return math.Log10(1 + float64(d)/float64(grain)) }
	return math.Round(10000*place(d)/place(s.longest)) / 100
}

// tick is one mark of the axis.
type tick struct {
	X     string
	Label string
	// Anchor is SVG's text-anchor.
	Anchor string
}

func (s scale) ticks() []tick {
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
		// One at the very end would be cut off.
		if x := s.at(t.at); t.at < s.longest && x < 97 {
			ticks = append(ticks, tick{X: percent(x), Label: t.label, Anchor: "middle"})
		}
	}
	return ticks
}

func percent(x float64) string { return strconv.FormatFloat(x, 'f', -1, 64) + "%" }

// bar is a stretch of time. Kind is the CSS class: it says what it was like for
// the canary's users.
type bar struct {
	X, Width, Kind, Title string
}

// point is a moment.
type point struct {
	X, Kind, Title string
}

// strip is a record's timeline in one line.
type strip struct {
	Bars   []bar
	Points []point
	// Text says the same in words.
	Text string
}

// strip draws the row: traffic to the accused canary, none, and the target's being
// watched.
func (s scale) strip(r rollback.Row, now time.Time) strip {
	begin, end := span(r, now)
	if begin.IsZero() {
		return strip{Text: "no times are known"}
	}
	var out strip
	var texts []string
	kind, from := "exposed", begin
	for _, m := range r.Moments {
		label := fmt.Sprintf("%s %s", moment(m.What), since(m.At.Sub(begin)))
		texts = append(texts, label)
		out.Points = append(out.Points, point{percent(s.at(m.At.Sub(begin))), string(m.What), label})
		if next := kindAfter(m.What); next != "" {
			out.Bars = append(out.Bars, s.bar(kind, from.Sub(begin), m.At.Sub(begin)))
			kind, from = next, m.At
		}
	}
	if end.After(from) {
		out.Bars = append(out.Bars, s.bar(kind, from.Sub(begin), end.Sub(begin)))
	}
	out.Text = strings.Join(texts, ", ")
	return out
}

func (s scale) bar(kind string, from, to time.Duration) bar {
	x := s.at(from)
	return bar{
		X: percent(x), Width: percent(math.Round(100*(s.at(to)-x)) / 100), Kind: kind,
		Title: fmt.Sprintf("%s: from %s to %s", stretch(kind), since(from), since(to)),
	}
}

// kindAfter says what it is like from a moment on; "" if nothing changes.
func kindAfter(m rollback.MomentKind) string {
	switch m {
	case rollback.MomentZero:
		return "dark"
	case rollback.MomentRaised:
		return "watched"
	case rollback.MomentJudged, rollback.MomentReleased:
		return "over"
	case rollback.MomentFired, rollback.MomentReceived, rollback.MomentRolledBack:
		return ""
	default:
		return ""
	}
}

// stretch names a kind of bar.
func stretch(kind string) string {
	switch kind {
	case "exposed":
		return "the accused canary gets traffic"
	case "dark":
		return "no canary gets traffic"
	case "watched":
		return "the target's canary gets traffic and is watched"
	default:
		return "over"
	}
}

// moment names a moment.
func moment(m rollback.MomentKind) string {
	switch m {
	case rollback.MomentFired:
		return "alert fires"
	case rollback.MomentReceived:
		return "received"
	case rollback.MomentZero:
		return "weight zero"
	case rollback.MomentRolledBack:
		return "rolled back"
	case rollback.MomentRaised:
		return "weight raised"
	case rollback.MomentJudged:
		return "judged"
	case rollback.MomentReleased:
		return "hold over"
	default:
		return string(m)
	}
}

// since is a duration as the timeline shows it.
func since(d time.Duration) string {
	switch {
	case d < time.Second:
		return fmt.Sprintf("%.3f s", d.Seconds())
	case d < 2*time.Minute:
		return fmt.Sprintf("%.1f s", d.Seconds())
	default:
		return d.Round(time.Second).String()
	}
}
