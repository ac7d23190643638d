package handler

import (
	"fmt"
	"net/url"
	"slices"
	"time"

	"github.com/upcommerce/backout/rollback"
)

// Bounds of what one page shows; filters reach the rest.
const (
	maxShownRows     = 100
	maxShownReleases = 200
	maxShownRefusals = 20
)

// recently is for how long a record that ended badly, and was closed, is shown as
// something to do.
const recently = 24 * time.Hour

// filter is what a reader wants to see; "" is everything.
type filter struct {
	Namespace, State, Verdict string
}

func newFilter(query url.Values) filter {
	return filter{query.Get("namespace"), query.Get("state"), query.Get("verdict")}
}

// Any reports whether something is left out.
func (f filter) Any() bool { return f != filter{} }

func (f filter) wants(namespace string, state rollback.State, verdict rollback.Verdict) bool {
	return (f.Namespace == "" || f.Namespace == namespace) &&
		(f.State == "" || f.State == string(state)) &&
		(f.Verdict == "" || f.Verdict == string(verdict))
}

// overview is what the status page shows.
type overview struct {
	Now      time.Time
	Observes bool
	Headline headline
	// Calls are the records that a person has to do something about; they are also
	// among Items.
	Calls    []item
	Items    []item
	Axis     []tick
	Releases []guarded
	Refusals []rollback.Refusal
	// MoreItems and MoreReleases are how many more there are than are shown.
	MoreItems, MoreReleases int

	Filter     filter
	Namespaces []string
	States     []rollback.State
	Verdicts   []rollback.Verdict
}

// headline is the page in one sentence. Level is calm, busy or call.
type headline struct {
	Level, Text, Detail string
}

// item is a record on the page.
type item struct {
	rollback.Row
	Strip strip
}

// guarded is a release on the page, with the state of its newest record.
type guarded struct {
	rollback.Guarded
	Newest *rollback.Row
}

// newOverview makes the page of what the board shows. It is pure.
func newOverview(v rollback.View, f filter, mode rollback.Mode, now time.Time) overview {
	o := overview{
		Now: now, Observes: mode == rollback.ModeObserve, Filter: f,
		Namespaces: namespaces(v), States: rollback.States(), Verdicts: rollback.Verdicts(),
	}
	rows := slices.DeleteFunc(slices.Clone(v.Rows), func(r rollback.Row) bool { return !f.wants(r.Namespace, r.State, r.Verdict) })
	o.MoreItems = max(0, len(rows)-maxShownRows)
	rows = rows[:len(rows)-o.MoreItems]
	scale := newScale(rows, now)
	o.Axis = scale.ticks()
	newest := newestRows(v.Rows)
	for _, r := range rows {
		o.Items = append(o.Items, item{Row: r, Strip: scale.strip(r, now)})
	}
	for _, r := range v.Rows {
		if urgent(r, newest, now) {
			o.Calls = append(o.Calls, item{Row: r})
		}
	}
	o.Headline = newHeadline(v.Rows, len(o.Calls), now)
	for _, g := range v.Guarded {
		own := newest[g.Key]
		if f.Namespace == "" || f.Namespace == g.Namespace {
			o.Releases = append(o.Releases, guarded{g, own})
		}
	}
	slices.SortStableFunc(o.Releases, func(a, b guarded) int { return a.rank() - b.rank() })
	o.MoreReleases = max(0, len(o.Releases)-maxShownReleases)
	o.Releases = o.Releases[:len(o.Releases)-o.MoreReleases]
	for _, r := range v.Refusals {
		if (f.Namespace == "" || f.Namespace == r.Namespace) && len(o.Refusals) < maxShownRefusals {
			o.Refusals = append(o.Refusals, r)
		}
	}
	return o
}

// rank puts first what backout works on.
func (g guarded) rank() int {
	if g.Newest != nil && g.Newest.Open() {
		return 0
	}
	return 1
}

func namespaces(v rollback.View) []string {
	var names []string
	for _, r := range v.Rows {
		names = append(names, r.Namespace)
	}
	for _, g := range v.Guarded {
		names = append(names, g.Namespace)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// newestRows returns each release's newest record.
func newestRows(rows []rollback.Row) map[rollback.Key]*rollback.Row {
	newest := make(map[rollback.Key]*rollback.Row)
	for i := range rows {
		if r := &rows[i]; newest[r.Key] == nil || newest[r.Key].Opened.Before(r.Opened) {
			newest[r.Key] = r
		}
	}
	return newest
}

// urgent reports whether a person has to do something about the record now. One
// that is closed counts for a day, unless the release was accused anew since.
func urgent(r rollback.Row, newest map[rollback.Key]*rollback.Row, now time.Time) bool {
	if !r.Calls || r.Open() {
		return r.Calls
	}
	return now.Sub(r.Closed) < recently && newest[r.Key].Revision == r.Revision
}

// newHeadline answers the three questions of somebody half awake: is something
// being rolled back, did it help, what must I do.
func newHeadline(rows []rollback.Row, calls int, now time.Time) headline {
	count := make(map[rollback.State]int)
	var last *rollback.Row
	for i := range rows {
		r := &rows[i]
		if r.Open() {
			count[r.State]++
		}
		if last == nil && r.State != rollback.StateUntouched {
			last = r
		}
	}
	h := headline{Level: "busy"}
	switch {
	case calls > 0:
		h.Level, h.Text = "call", plural(calls, "release needs", "releases need")+" you"
		if acting := count[rollback.StateActing]; acting > 0 {
			h.Text += "; acting now on " + plural(acting, "release", "releases")
		}
	case count[rollback.StateActing] > 0:
		h.Text = "Acting now on " + plural(count[rollback.StateActing], "release", "releases")
	case count[rollback.StateWatching] > 0:
		h.Text = plural(count[rollback.StateWatching], "release is", "releases are") + " rolled back; watching whether that helped"
	case count[rollback.StateHeld] > 0:
		h.Text = plural(count[rollback.StateHeld], "canary is", "canaries are") + " held at zero"
	case count[rollback.StateWaiting] > 0:
		h.Text = plural(count[rollback.StateWaiting], "alert waits", "alerts wait") + " to be decided again"
	default:
		h.Level, h.Text = "calm", "Nothing is being rolled back"
	}
	if last != nil {
		h.Detail = fmt.Sprintf("Last: %s revision %d, %s ago: %s.", last.Key, last.Revision, age(now, last.Opened), told(*last))
	}
	return h
}

// told says in a few words what came of a record.
func told(r rollback.Row) string {
	if r.Did == "" {
		return string(r.State)
	}
	return r.Did + ", " + string(r.State)
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// age is how long ago something was, in its one largest unit.
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
