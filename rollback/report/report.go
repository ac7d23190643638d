package report

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/upcommerce/backout/rollback"
)

// Report is everything that channels send about one record, or about a storm. Its JSON
// is part of the events of the generic webhook: docs/webhook.md.
type Report struct {
	Namespace string `json:"namespace"`
	Release   string `json:"release"`
	// Revision is the suspect one, 0 for a storm.
	Revision int `json:"revision"`
	// Record is the name of the ConfigMap with the whole record, "" for a storm.
	Record string `json:"record"`
	// Cluster is BACKOUT_CLUSTER.
	Cluster string    `json:"cluster,omitempty"`
	Opened  time.Time `json:"opened"`
	// Closed says that backout does nothing more about the record.
	Closed bool `json:"closed"`

	State State `json:"state"`
	// Title is one line; it contains no text of an alert.
	Title string `json:"title"`
	// NeedsHelp says that an operator has to look.
	NeedsHelp bool `json:"needsHelp"`

	Alerts  []Alert          `json:"alerts"`
	Verdict rollback.Verdict `json:"verdict"`
	// Meaning is the verdict in words, Reason the decision's own.
	Meaning string `json:"meaning"`
	Reason  string `json:"reason,omitempty"`

	// Weights are the canary's before and after the shed.
	Weights []rollback.Weight `json:"weights,omitempty"`
	// Target is the revision that the release was rolled back to, Made the revision that
	// Helm made for it.
	Target int `json:"target,omitempty"`
	Made   int `json:"made,omitempty"`
	// Done describes the steps that are done, with their durations.
	Done []string `json:"done,omitempty"`
	// Timeline is what happened, oldest first.
	Timeline []Entry `json:"timeline"`
	// Commands are those that an operator may run, the most useful one first.
	Commands []Command `json:"commands,omitempty"`
	// Dashboard is the address of the dashboard at the time of the alert.
	Dashboard string `json:"dashboard,omitempty"`
	// Releases are those of a storm.
	Releases []string `json:"releases,omitempty"`
}

// Alert is an alert, or an operator's order. Its texts come from other systems.
type Alert struct {
	Name        string `json:"name"`
	Summary     string `json:"summary,omitempty"`
	Description string `json:"description,omitempty"`
	// Operator gave this order; "" for an alert.
	Operator string    `json:"operator,omitempty"`
	Link     string    `json:"link,omitempty"`
	StartsAt time.Time `json:"startsAt"`
	Resolved bool      `json:"resolved"`
}

// Settings are the parts of the configuration that a report contains.
type Settings struct {
	Cluster string
	// Dashboard is the address of a dashboard; it may be "".
	Dashboard string
}

// Of returns the report of the record. It is pure: the same record always gives the
// same report. The Timeline is empty if there is nothing to notify the team of.
func Of(r rollback.Record, s Settings) Report {
	r = r.Printable()
	d := r.Decision()
	report := Report{
		Namespace: r.Namespace, Release: r.Release, Revision: r.Revision,
		Record: r.Name(), Cluster: s.Cluster,
		Opened: r.Opened, Closed: !r.Closed.IsZero(),
		State: StateOf(&r), Title: title(&r), NeedsHelp: NeedsHelp(&r),
		Alerts: alerts(&r), Verdict: d.Verdict, Meaning: Meaning(d), Reason: d.Reason,
		Done: done(&r), Timeline: timeline(&r), Commands: Commands(&r),
		Dashboard: dashboard(&r, s.Dashboard),
	}
	if r.Shed.Succeeded() {
		report.Weights = r.Weights
	}
	if r.Rollback.Succeeded() {
		report.Target, report.Made = r.Target, r.Made
	}
	return report
}

// Key names the release.
func (r *Report) Key() rollback.Key {
	return rollback.Key{Namespace: r.Namespace, Release: r.Release}
}

// Outcomes returns the entries that the channels without details send too.
func (r *Report) Outcomes() []Entry {
	return slices.DeleteFunc(slices.Clone(r.Timeline), func(e Entry) bool { return !e.Outcome })
}

// LastChange returns the time of the newest entry.
func (r *Report) LastChange() time.Time {
	at := r.Opened
	for _, e := range r.Timeline {
		if e.At.After(at) {
			at = e.At
		}
	}
	return at
}

// First returns the first entry of that kind, and whether there is one.
func (r *Report) First(k EntryKind) (Entry, bool) {
	for _, e := range r.Timeline {
		if e.Kind == k {
			return e, true
		}
	}
	return Entry{}, false
}

// HelpRequested returns the first entry that asks for help, and whether there is one. If
// not, the entry has only the time of the last change.
func (r *Report) HelpRequested() (Entry, bool) {
	for _, e := range r.Timeline {
		if e.NeedsHelp {
			return e, true
		}
	}
	return Entry{At: r.LastChange()}, false
}

func alerts(r *rollback.Record) []Alert {
	all := make([]Alert, 0, len(r.Signals))
	for _, s := range r.Signals {
		all = append(all, Alert{
			Name: s.Alert, Summary: s.Summary, Description: s.Description, Operator: s.Operator, Link: s.Link,
			StartsAt: s.StartsAt, Resolved: !s.Resolved.IsZero(),
		})
	}
	return all
}

// done describes each step that is done: from, to and the time it took. It begins with the
// shed if that was given up.
func done(r *rollback.Record) []string {
	var lines []string
	received := receivedAt(r)
	if notShed(r) {
		lines = append(lines, notShedText(r))
	}
	if r.Shed.Succeeded() {
		for _, w := range r.Weights {
			lines = append(lines, fmt.Sprintf("weight of %s, %s after backout received the alert", w, HumanDuration(r.Shed.Done.Sub(received))))
		}
	}
	if r.Rollback.Succeeded() {
		lines = append(lines, fmt.Sprintf("revision %d -> %d, as revision %d, in %s", r.Revision, r.Target, r.Made, HumanDuration(r.Rollback.Done.Sub(r.Rollback.Started)))+aboutTarget(r))
	}
	if r.Restore.Succeeded() && atZero(r) && !r.HoldsTarget() {
		lines = append(lines, fmt.Sprintf("weight restored as revision %d declares it, %s after backout received the alert", r.Target, HumanDuration(r.Restore.Done.Sub(received))))
	}
	return lines
}

// HumanDuration returns a duration as messages show it, such as "0.3 s"; a negative one
// is "0.0 s".
func HumanDuration(d time.Duration) string {
	d = max(d, 0)
	switch {
	case d < 10*time.Second:
		return strconv.FormatFloat(d.Seconds(), 'f', 1, 64) + " s"
	case d < 2*time.Minute:
		return strconv.Itoa(int(d.Seconds())) + " s"
	default:
		return strconv.Itoa(int(d.Minutes())) + " min"
	}
}

// dashboardMargin is the time that a dashboard shows before and after the record.
const dashboardMargin = 15 * time.Minute

// dashboard returns the address with the parameters that Grafana reads: the time range
// in milliseconds and the variables namespace and release.
func dashboard(r *rollback.Record, base string) string {
	u, err := url.Parse(base)
	if base == "" || err != nil {
		return ""
	}
	from := receivedAt(r)
	if fired := firedAt(r); len(r.Signals) > 0 && fired.Before(from) {
		from = fired
	}
	q := u.Query()
	q.Set("from", strconv.FormatInt(from.Add(-dashboardMargin).UnixMilli(), 10))
	q.Set("to", "now")
	if !r.Closed.IsZero() {
		q.Set("to", strconv.FormatInt(r.Closed.Add(dashboardMargin).UnixMilli(), 10))
	}
	q.Set("var-namespace", r.Namespace)
	q.Set("var-release", r.Release)
	u.RawQuery = q.Encode()
	return u.String()
}
