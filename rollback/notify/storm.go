package notify

import (
	"fmt"
	"slices"
	"time"

	"github.com/upcommerce/backout/rollback"
)

// gathering is for how long the releases of a storm are gathered before the summary.
const gathering = 5 * time.Second

// maxReleases bounds the releases that a summary names.
const maxReleases = 20

// takeStorm returns the summary of everything that is in a storm and was not told;
// nil within the window of an earlier summary: what joins the storm then is taken
// as told. It is called with the lock held.
func (t *Teller) takeStorm(c *channel, now time.Time) *errand {
	last := t.stormed[c]
	var fresh []identity
	for id, m := range t.known {
		switch {
		case m.report.State != InStorm:
		case m.told[c.name].Has(stormKey(m)):
			last = later(last, m.told[c.name].At)
			t.hush(c, m)
		default:
			fresh = append(fresh, id)
		}
	}
	if now.Sub(last) < t.window {
		for _, id := range fresh {
			t.hush(c, t.known[id])
		}
		return nil
	}
	if len(fresh) == 0 {
		return nil
	}
	report := t.summary(fresh)
	return &errand{ids: fresh, report: report, news: report.Story}
}

// hush takes everything about m as told.
func (t *Teller) hush(c *channel, m *matter) {
	var told rollback.Told
	for _, l := range m.news(c) {
		told.Lines = append(told.Lines, l.Key)
	}
	t.note(c, m, told)
}

// stormKey is the key of the line that says that a record is in a storm.
func stormKey(m *matter) string {
	if l, ok := m.report.first(Storm); ok {
		return l.Key
	}
	return ""
}

// summary is the report about all of them. It belongs to no record.
func (t *Teller) summary(ids []identity) Report {
	var releases []string
	var latest Report
	opened := time.Time{}
	for _, id := range ids {
		m := t.known[id]
		releases = append(releases, id.key.String())
		if opened.IsZero() || m.report.Opened.Before(opened) {
			opened = m.report.Opened
		}
		if latest.Title == "" || m.report.at().After(latest.at()) {
			latest = m.report
		}
	}
	slices.Sort(releases)
	count := len(releases)
	if count > maxReleases {
		releases = append(releases[:maxReleases], fmt.Sprintf("and %d more", count-maxReleases))
	}
	title := fmt.Sprintf("storm: %d releases are accused at once; nothing was touched", count)
	return Report{
		Cluster: t.setting.Cluster, Opened: opened, State: InStorm, Title: title, Help: true, Alerts: []Alert{},
		Verdict: latest.Verdict, Meaning: latest.Meaning, Reason: latest.Reason,
		Story: []Line{{
			Key: stamped(Storm, latest.at()), At: latest.at(), Word: Storm, Text: title, Outcome: true, Help: true,
		}},
		Next:      []Command{{"to see all of them", command("kubectl", "get", "configmaps", "-A", "-l", "app.kubernetes.io/managed-by=backout", "-L", "backout.dev/verdict")}},
		Dashboard: t.setting.Dashboard, Releases: releases,
	}
}
