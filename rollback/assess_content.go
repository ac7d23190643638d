package rollback

import (
	"slices"
	"time"
)

// afterContent reports whether the newest revision can have caused the alert: the alert
// names it, or its content was deployed when the alert started. Where the content was there
// before, the alert's evidence decides: see returnedFrom.
//
// After a Helm rollback, as of `helm upgrade --atomic`, an alert about the replaced revision may
// fire later than the new one is deployed, and one about the same content earlier: unless the
// alert names the revision itself, its condition must be known to have become true since.
func (c Case) afterContent(s Signal) bool {
	if s.Revision == c.History.Newest().Number || c.ownEvidence(s) {
		return true
	}
	if _, returned := c.returnedFrom(s); returned {
		return false
	}
	since := !s.ActiveSince().Before(c.ContentSince())
	if c.History.madeByRollback() {
		return since && (c.identifies(s.Version) || s.activeSinceKnown())
	}
	return since || c.identifies(s.Version)
}

// mayHaveStarted says how certain it is that an alert is older than the newest revision.
func (c Case) mayHaveStarted() string {
	if c.History.madeByRollback() {
		return "may have started"
	}
	return "started"
}

// identifies reports whether version distinguishes the canary of the newest revision from
// that of every older one with different content. A version that both have, such as an
// unchanged appVersion, identifies neither.
func (c Case) identifies(version string) bool {
	newest := c.History.Newest()
	return newest.HasVersion(version) && !slices.ContainsFunc(c.History.Older(), func(r Revision) bool {
		return r.HasVersion(version) && r.Content != newest.Content
	})
}

// revisionOf returns the newest older revision whose canary has that version.
func (c Case) revisionOf(version string) (int, bool) {
	for _, r := range c.History.Older() {
		if r.HasVersion(version) {
			return r.Number, true
		}
	}
	return 0, false
}

// ContentSince is when the content of the newest revision was first deployed: with the
// first revision of a ramp.
func (c Case) ContentSince() time.Time {
	newest := c.History.Newest()
	first := newest.Deployed
	for _, r := range c.History.Older() {
		if newest.Content == "" || r.Content != newest.Content || !r.good() {
			break
		}
		first = r.Deployed
	}
	return first
}

// settledAt is when the newest content has been deployed for so long that the windows of
// the alert rules contain nothing from before it.
func (c Case) settledAt() time.Time { return c.ContentSince().Add(c.Policy.Settle) }
