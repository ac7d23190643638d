package handler

import (
	"fmt"
	"net/url"
	"slices"
	"time"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/report"
)

// Bounds of one page; filters reach the rest.
const (
	maxShownRecords  = 100
	maxShownReleases = 200
	maxShownRefusals = 20
)

// filter selects records; "" selects all.
type filter struct {
	Namespace, State, Verdict string
}

func newFilter(query url.Values) filter {
	return filter{query.Get("namespace"), query.Get("state"), query.Get("verdict")}
}

// Any reports whether the filter leaves records out.
func (f filter) Any() bool { return f != filter{} }

func (f filter) matches(namespace string, state report.State, verdict rollback.Verdict) bool {
	return f.matchesNamespace(namespace) &&
		(f.State == "" || f.State == string(state)) &&
		(f.Verdict == "" || f.Verdict == string(verdict))
}

func (f filter) matchesNamespace(namespace string) bool {
	return f.Namespace == "" || f.Namespace == namespace
}

// rows returns those that match.
func (f filter) rows(all []report.Row) []report.Row {
	return slices.DeleteFunc(slices.Clone(all), func(r report.Row) bool { return !f.matches(r.Namespace, r.State, r.Verdict) })
}

// releases returns those whose namespace matches.
func (f filter) releases(all []rollback.GuardedRelease) []rollback.GuardedRelease {
	return slices.DeleteFunc(slices.Clone(all), func(g rollback.GuardedRelease) bool { return !f.matchesNamespace(g.Namespace) })
}

// overviewPage is the status page.
type overviewPage struct {
	Now      time.Time
	Observes bool
	Headline headline
	// Problems are what backout cannot do at the moment.
	Problems []string
	// NeedHelp are the records that need an operator now; Records contains them too, if
	// they match the filter.
	NeedHelp []report.Row
	Records  []recordRow
	Axis     []tick
	Releases []releaseRow
	Refusals []rollback.Refusal
	// MoreRecords and MoreReleases are how many are not shown.
	MoreRecords, MoreReleases int

	Filter     filter
	Namespaces []string
	States     []report.State
	Verdicts   []rollback.Verdict
}

// recordRow is a record in the table of records.
type recordRow struct {
	report.Row
	Timeline rowTimeline
}

// releaseRow is an opted-in release, with its newest record; nil if it has none.
type releaseRow struct {
	rollback.GuardedRelease
	Newest *report.Row
}

// newOverviewPage makes the page of what the board shows. It is pure.
func newOverviewPage(v report.View, f filter, mode rollback.Mode, now time.Time) overviewPage {
	p := overviewPage{
		Now: now, Observes: mode == rollback.ModeObserve, Filter: f,
		Namespaces: namespaces(v), States: report.States(), Verdicts: rollback.Verdicts(),
	}
	rows := f.rows(v.Rows)
	p.MoreRecords = max(0, len(rows)-maxShownRecords)
	rows = rows[:len(rows)-p.MoreRecords]
	scale := newTimeScale(rows, now)
	p.Axis = scale.ticks()
	for _, r := range rows {
		p.Records = append(p.Records, recordRow{Row: r, Timeline: scale.rowTimeline(r, now)})
	}
	newest := v.Newest()
	p.NeedHelp = v.NeedHelp(now)
	p.Headline = newHeadline(v.Rows, countReleases(p.NeedHelp), now)
	for _, g := range f.releases(v.Releases) {
		p.Releases = append(p.Releases, releaseRow{g, newest[g.Key]})
	}
	slices.SortStableFunc(p.Releases, func(a, b releaseRow) int { return a.rank() - b.rank() })
	p.MoreReleases = max(0, len(p.Releases)-maxShownReleases)
	p.Releases = p.Releases[:len(p.Releases)-p.MoreReleases]
	for _, r := range v.Refusals {
		if f.matchesNamespace(r.Namespace) && len(p.Refusals) < maxShownRefusals {
			p.Refusals = append(p.Refusals, r)
		}
	}
	return p
}

// rank puts releases with an open record first.
func (r releaseRow) rank() int {
	if r.Newest != nil && r.Newest.Open() {
		return 0
	}
	return 1
}

func namespaces(v report.View) []string {
	var names []string
	for _, r := range v.Rows {
		names = append(names, r.Namespace)
	}
	for _, g := range v.Releases {
		names = append(names, g.Namespace)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// countReleases returns how many releases the rows are about.
func countReleases(rows []report.Row) int {
	releases := make(map[rollback.Key]bool)
	for _, r := range rows {
		releases[r.Key] = true
	}
	return len(releases)
}

// headline is the page in one sentence.
type headline struct {
	Tone         tone
	Text, Detail string
}

// newHeadline answers the three questions of an operator who has just been woken: is
// backout rolling something back, did it help, and what do I have to do.
func newHeadline(rows []report.Row, needHelp int, now time.Time) headline {
	open := make(map[report.State]int)
	var last *report.Row
	for i := range rows {
		r := &rows[i]
		if r.Open() {
			open[r.State]++
		}
		if last == nil && r.State != report.StateNoAction {
			last = r
		}
	}
	h := headline{Tone: toneProgress}
	acting := "acting now on " + plural(open[report.StateActing], "release", "releases")
	switch {
	case needHelp > 0:
		h.Tone, h.Text = toneHelp, plural(needHelp, "release needs", "releases need")+" you"
		if open[report.StateActing] > 0 {
			h.Text += "; backout is " + acting
		}
	case open[report.StateActing] > 0:
		h.Text = "backout is " + acting
	case open[report.StateAwaitingRollback] > 0:
		h.Text = plural(open[report.StateAwaitingRollback], "canary is", "canaries are") + " out of rotation; the rollback waits"
	case open[report.StateVerifying] > 0:
		h.Text = plural(open[report.StateVerifying], "release is", "releases are") + " rolled back; backout is verifying that it helped"
	case open[report.StateHeld] > 0:
		h.Tone, h.Text = toneStopped, plural(open[report.StateHeld], "canary is", "canaries are")+" held at zero"
	case open[report.StateWaiting] > 0:
		h.Text = plural(open[report.StateWaiting], "release has an alert", "releases have alerts") + " on which backout will decide again"
	default:
		h.Tone, h.Text = toneCalm, "Nothing is being rolled back"
	}
	if last != nil {
		h.Detail = fmt.Sprintf("Last: %s revision %d, %s ago: %s.", last.Key, last.Revision, age(now, last.Opened), result(*last))
	}
	return h
}

// result returns in a few words what backout did, and the state of the record.
func result(r report.Row) string {
	if r.Action == "" {
		return stateLabel(r.State)
	}
	return r.Action + ", " + stateLabel(r.State)
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
