package report

import (
	"fmt"
	"slices"
)

// maxStormReleases bounds the releases that the report about a storm names.
const maxStormReleases = 20

// OfStorm returns one report about all records of a storm, in place of a report about
// each. It belongs to no record. There must be at least one.
func OfStorm(records []Report, s Settings) Report {
	opened, latest := records[0].Opened, records[0]
	releases := make([]string, 0, len(records))
	for _, r := range records {
		releases = append(releases, r.Key().String())
		if r.Opened.Before(opened) {
			opened = r.Opened
		}
		if r.LastChange().After(latest.LastChange()) {
			latest = r
		}
	}
	slices.Sort(releases)
	if count := len(releases); count > maxStormReleases {
		releases = append(releases[:maxStormReleases], fmt.Sprintf("and %d more", count-maxStormReleases))
	}
	title := fmt.Sprintf("storm: alerts fire for %d releases at once; backout touched nothing", len(records))
	return Report{
		Cluster: s.Cluster, Dashboard: s.Dashboard, Opened: opened, Releases: releases,
		State: StateStorm, Title: title, NeedsHelp: true, Alerts: []Alert{},
		Verdict: latest.Verdict, Meaning: latest.Meaning, Reason: latest.Reason,
		Timeline: []Entry{{
			Key: timedKey(EntryStorm, latest.LastChange()), At: latest.LastChange(), Kind: EntryStorm, Text: title,
			Outcome: true, NeedsHelp: true,
		}},
		Commands: []Command{StormCommand()},
	}
}
