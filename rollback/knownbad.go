package rollback

import (
	"slices"
	"time"
)

// KnownBad returns the digests of the content that is known bad according to the
// records: a rollback of it was started, or it was held and no operator lifted the hold.
// A shed that was undone, because Prometheus did not confirm the alert, makes nothing
// known bad, and neither does a record all of whose alerts Prometheus denies, or has with
// the level observe.
func KnownBad(records []Record) map[string]bool {
	knownBad := make(map[string]bool)
	for i := range records {
		if r := &records[i]; r.Content != "" && r.blames() {
			knownBad[r.Content] = true
		}
	}
	return knownBad
}

// blames reports whether the record makes its content known bad.
func (r *Record) blames() bool {
	held := r.Hold != nil && !r.Hold.Lifted && !r.ShedUndone()
	return (r.Rollback != nil || held) && !r.refuted()
}

// refuted reports whether the record has alerts, and none of them counts. An operator's order
// counts.
func (r *Record) refuted() bool {
	return len(r.Signals) > 0 && !slices.ContainsFunc(r.Signals, func(s Signal) bool {
		observes := s.Level == LevelObserve || s.Confirmation != nil && s.Confirmation.Level == LevelObserve
		return s.Operator != "" || !s.Denied() && !observes
	})
}

// blamedAt is when backout last backed out of the content of a record that blames it.
func (r *Record) blamedAt() time.Time {
	var at time.Time
	if r.Rollback != nil {
		at = r.Rollback.Started
	}
	if r.Hold != nil {
		at = Later(at, r.Hold.Since)
	}
	return at
}

// ContentIn returns the content of the record's revision as the history has it now: a newer
// version of backout may compute the digest in another way than the one that wrote the record.
func (r *Record) ContentIn(h History) string {
	if own, ok := h.Named(r.Revision); ok && own.UID == r.UID && own.Content != "" {
		return own.Content
	}
	return r.Content
}

// withContents returns the records with the contents that the history has now.
func (h History) withContents(records []Record) []Record {
	records = slices.Clone(records)
	for i := range records {
		records[i].Content = records[i].ContentIn(h)
	}
	return records
}

// blaming returns the records whose content is still known bad: it has not served through the
// bake window since, without an alert that counts.
func (c Case) blaming(records []Record) []Record {
	return slices.DeleteFunc(c.History.withContents(records), func(r Record) bool {
		return !r.blames() || c.servedWell(r.Content, r.blamedAt())
	})
}

// servedWell reports whether the content was deployed after that time and served for the bake
// window, in revisions that follow each other, without an alert that counts for any of them.
func (c Case) servedWell(content string, after time.Time) bool {
	var served time.Duration
	until := c.Now
	for i, r := range c.History {
		well := content != "" && r.Content == content && r.good() && r.Deployed.After(after)
		if well && !c.hasSignal(r) {
			served += until.Sub(r.Deployed)
		} else {
			served = 0
		}
		if served >= c.Policy.Bake && i > 0 {
			return true
		}
		until = r.Deployed
	}
	return false
}

// hasSignal reports whether a record has an alert about the revision that counts.
func (c Case) hasSignal(r Revision) bool {
	own, ok := FindRecord(c.Records, r)
	_, counting := own.LastReceived()
	return ok && (!counting.IsZero() || own.blames())
}
