package notify

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/upcommerce/backout/rollback"
)

// Report is everything that people are told about one record as it stands, or
// about a storm. Its JSON is the data of the generic webhook: docs/webhook.md.
type Report struct {
	Namespace string `json:"namespace"`
	Release   string `json:"release"`
	// Revision is the accused one, 0 for a storm.
	Revision int `json:"revision"`
	// Record is the name of the ConfigMap that has everything.
	Record string `json:"record"`
	// Cluster is BACKOUT_CLUSTER.
	Cluster string    `json:"cluster,omitempty"`
	Opened  time.Time `json:"opened"`
	// Over says that nothing is left to do for backout.
	Over bool `json:"over"`

	State State `json:"state"`
	// Title is one line; it holds no text of an alert.
	Title string `json:"title"`
	// Help says that a person has to look.
	Help bool `json:"help"`

	Alerts  []Alert          `json:"alerts"`
	Verdict rollback.Verdict `json:"verdict"`
	// Meaning is the verdict in words, Reason the decision's own.
	Meaning string `json:"meaning"`
	Reason  string `json:"reason,omitempty"`

	// Weights are the canary's as the shed found and left them.
	Weights []rollback.Weight `json:"weights,omitempty"`
	// Target is the revision gone back to, Made what Helm wrote for it.
	Target int `json:"target,omitempty"`
	Made   int `json:"made,omitempty"`
	// Done says in words what was done, and how long it took.
	Done []string `json:"done,omitempty"`
	// Story is all that happened, oldest first.
	Story []Line `json:"story"`
	// Next are commands that a person may run.
	Next []Command `json:"next,omitempty"`
	// Dashboard leads to the time of the alert.
	Dashboard string `json:"dashboard,omitempty"`
	// Releases are those of a storm.
	Releases []string `json:"releases,omitempty"`
}

// Alert is what was seen. Its texts are a stranger's.
type Alert struct {
	Name        string    `json:"name"`
	Summary     string    `json:"summary,omitempty"`
	Description string    `json:"description,omitempty"`
	By          string    `json:"by,omitempty"`
	Link        string    `json:"link,omitempty"`
	StartsAt    time.Time `json:"startsAt"`
	Resolved    bool      `json:"resolved"`
}

// Command is one that a person may run, and what for.
type Command struct {
	Why  string `json:"why"`
	Line string `json:"line"`
}

// Setting is what a report needs to know of the configuration.
type Setting struct {
	Cluster string
	// Dashboard is a dashboard's address; "" if there is none.
	Dashboard string
}

// Of returns what there is to tell about the record. It is pure: the same record
// always gives the same report. A record that nobody needs to hear of has no story.
func Of(r rollback.Record, s Setting) Report {
	story := tell(&r)
	d := r.Decision()
	now := standing(&r)
	report := Report{
		Namespace: r.Namespace, Release: r.Release, Revision: r.Revision,
		Record: fmt.Sprintf("backout.v1.%s.v%d", r.Release, r.Revision), Cluster: s.Cluster,
		Opened: r.Opened, Over: !r.Closed.IsZero(),
		State: now, Title: title(&r, now), Help: help(&r, now),
		Alerts: seen(&r), Verdict: d.Verdict, Meaning: meaning(d), Reason: d.Reason,
		Done: done(&r), Story: story, Next: next(&r, now),
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

// Outcomes are the lines that are told by channels which do not tell all of them.
func (r *Report) Outcomes() []Line {
	return slices.DeleteFunc(slices.Clone(r.Story), func(l Line) bool { return !l.Outcome })
}

// at is when the newest thing in it happened.
func (r *Report) at() time.Time {
	at := r.Opened
	for _, l := range r.Story {
		if l.At.After(at) {
			at = l.At
		}
	}
	return at
}

func seen(r *rollback.Record) []Alert {
	alerts := make([]Alert, 0, len(r.Accusations))
	for _, a := range r.Accusations {
		alerts = append(alerts, Alert{
			Name: a.Alert, Summary: a.Summary, Description: a.Description, By: a.By, Link: a.Link,
			StartsAt: a.StartsAt, Resolved: !a.Resolved.IsZero(),
		})
	}
	return alerts
}

// done tells what was done with from, to and how long it took.
func done(r *rollback.Record) []string {
	var lines []string
	if r.Shed.Succeeded() {
		for _, w := range r.Weights {
			lines = append(lines, fmt.Sprintf("weight of %s/%s %s -> %s, %s after the alert came", w.Kind, w.Name, w.From, w.To, seconds(r.Shed.Done.Sub(heard(r)))))
		}
	}
	if r.Rollback.Succeeded() {
		lines = append(lines, fmt.Sprintf("revision %d -> %d, as revision %d, in %s", r.Revision, r.Target, r.Made, seconds(r.Rollback.Done.Sub(r.Rollback.Started))))
	}
	if r.Raise.Succeeded() && r.Shed.Succeeded() && len(r.Weights) > 0 {
		lines = append(lines, fmt.Sprintf("weight given back, as revision %d declares it, %s after the alert came", r.Target, seconds(r.Raise.Done.Sub(heard(r)))))
	}
	return lines
}

// heard is when the first accusation came.
func heard(r *rollback.Record) time.Time {
	if len(r.Accusations) == 0 {
		return r.Opened
	}
	return r.Accusations[0].Received
}

// seconds tells a duration for people.
func seconds(d time.Duration) string {
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

// margin is how much of the time around what happened a dashboard shows.
const margin = 15 * time.Minute

// dashboard returns the address with what Grafana reads of it: the time range in
// milliseconds and the variables namespace and release.
func dashboard(r *rollback.Record, base string) string {
	u, err := url.Parse(base)
	if base == "" || err != nil {
		return ""
	}
	from := heard(r)
	for _, a := range r.Accusations {
		if a.StartsAt.Before(from) {
			from = a.StartsAt
		}
	}
	q := u.Query()
	q.Set("from", strconv.FormatInt(from.Add(-margin).UnixMilli(), 10))
	q.Set("to", "now")
	if !r.Closed.IsZero() {
		q.Set("to", strconv.FormatInt(r.Closed.Add(margin).UnixMilli(), 10))
	}
	q.Set("var-namespace", r.Namespace)
	q.Set("var-release", r.Release)
	u.RawQuery = q.Encode()
	return u.String()
}
