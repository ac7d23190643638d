package notify

import (
	"slices"
	"time"

	"github.com/upcommerce/backout/rollback"
)

// Bounds of what is kept in memory, and for how long.
const (
	// maxKnown bounds the records about which there is something to tell.
	maxKnown = 1000
	// staleAfter is when what a closed record has to tell is no news any more.
	staleAfter = time.Hour
)

// identity is one record of one life of a release.
type identity struct {
	key    rollback.Key
	uid    string
	opened int64 // Unix, in nanoseconds
}

func identify(r *rollback.Record) identity {
	return identity{key: r.Key, uid: r.UID, opened: r.Opened.UnixNano()}
}

// matter is a record about which there is something to tell.
type matter struct {
	report Report
	// told is what each channel was told, by this process or an earlier one; unsaved
	// says that the record does not have all of it yet.
	told    map[string]rollback.Told
	unsaved bool
	// untold is what each channel has still to be told; it follows from report and
	// told, and is looked at far more often than these change.
	untold map[*channel][]Line
	// grew is when the story became longer.
	grew  time.Time
	tries map[*channel]*try
}

// try is how a channel fares with a matter.
type try struct {
	failures int
	// next is when it is tried again, last when it was delivered.
	next, last time.Time
}

func (m *matter) try(c *channel) *try {
	if m.tries[c] == nil {
		m.tries[c] = &try{}
	}
	return m.tries[c]
}

// news returns what c has not been told.
func (m *matter) news(c *channel) []Line { return m.untold[c] }

// compare finds out what c has still to be told.
func (m *matter) compare(c *channel) {
	told := m.told[c.name]
	m.untold[c] = slices.DeleteFunc(slices.Clone(c.wants(&m.report)), func(l Line) bool { return told.Has(l.Key) })
}

// refresh returns when c has to be told again although there is no news; zero for
// never.
func (m *matter) refresh(c *channel) time.Time {
	if c.lasts == nil || !c.lasts(&m.report) {
		return time.Time{}
	}
	return m.try(c).last.Add(refreshInterval)
}

// stale reports whether nobody needs to hear of it any more.
func (m *matter) stale(now time.Time) bool {
	return m.report.Over && now.Sub(m.report.at()) > staleAfter
}

// Report implements rollback.Reporter.
func (t *Teller) Report(r rollback.Record) {
	if len(t.channels) == 0 {
		return
	}
	now := time.Now()
	id, report := identify(&r), Of(r, t.setting)
	t.mu.Lock()
	defer t.mu.Unlock()
	m, ok := t.known[id]
	if !ok {
		m = &matter{told: make(map[string]rollback.Told), untold: make(map[*channel][]Line), tries: make(map[*channel]*try)}
	}
	if len(report.Story) > len(m.report.Story) && now.Sub(m.grew) > gather {
		m.grew = now
	}
	m.report = report
	for name, told := range r.Told {
		m.told[name] = told.Add(m.told[name])
	}
	for _, c := range t.channels {
		m.compare(c)
	}
	if !ok && !t.room(m, now) {
		return
	}
	t.known[id] = m
}

// room reports whether m is to be remembered: not if there is nothing to tell, nor,
// counted as dropped, if the memory is full of what is still to be told.
func (t *Teller) room(m *matter, now time.Time) bool {
	if m.forgettable(now) {
		return false
	}
	for id, other := range t.known {
		if len(t.known) < maxKnown {
			break
		}
		if t.idle(other) {
			delete(t.known, id)
		}
	}
	if len(t.known) < maxKnown {
		return true
	}
	for _, c := range t.channels {
		if len(m.news(c)) > 0 {
			t.drop(c, m)
		}
	}
	return false
}

// forgettable reports whether nobody needs to hear of m any more.
func (m *matter) forgettable(now time.Time) bool {
	return !m.unsaved && (m.stale(now) || len(m.report.Story) == 0)
}

// idle reports whether there is nothing to tell, to refresh or to note about m. It
// is remembered all the same for a while, so that nothing is told twice.
func (t *Teller) idle(m *matter) bool {
	for _, c := range t.channels {
		if len(m.news(c)) > 0 || !m.refresh(c).IsZero() {
			return false
		}
	}
	return !m.unsaved
}

// tidy forgets a matter that nobody needs to hear of any more, and counts what was
// tried in vain.
func (t *Teller) tidy(id identity, m *matter, now time.Time) {
	if !m.forgettable(now) {
		return
	}
	delete(t.known, id)
	for _, c := range t.channels {
		if m.try(c).failures > 0 && len(m.news(c)) > 0 {
			t.drop(c, m)
		}
	}
}

// drop counts what is never told.
func (t *Teller) drop(c *channel, m *matter) {
	t.metrics.notifications.WithLabelValues(c.name, resultDropped).Inc()
	t.log.Warn("notification given up", "channel", c.name, "namespace", m.report.Namespace,
		"release", m.report.Release, "revision", m.report.Revision)
}
