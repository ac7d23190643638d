package notify

import (
	"time"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/report"
)

// stormGatherTime is for how long the releases of a storm are gathered before the
// message about all of them.
const stormGatherTime = 5 * time.Second

// inStorm reports whether c sends one message about a storm in place of one about p.
func inStorm(c *channel, p *pending) bool {
	return p.report.State == report.StateStorm && !c.perRelease
}

// nextStorm returns the delivery about every record of the storm that c has not sent;
// nil within the window of an earlier one: records that join the storm then count as
// sent. It is called with the lock held.
func (n *Notifier) nextStorm(c *channel, now time.Time) *delivery {
	last := n.stormSent[c]
	var unsent []identity
	for id, p := range n.pending {
		switch {
		case p.report.State != report.StateStorm:
		case p.sent[c.name].Has(stormKey(p)):
			last = rollback.Later(last, p.sent[c.name].At)
			n.skip(c, p)
		default:
			unsent = append(unsent, id)
		}
	}
	if now.Sub(last) < n.window {
		for _, id := range unsent {
			n.skip(c, n.pending[id])
		}
		return nil
	}
	if len(unsent) == 0 {
		return nil
	}
	reports := make([]report.Report, 0, len(unsent))
	for _, id := range unsent {
		reports = append(reports, n.pending[id].report)
	}
	rep := report.OfStorm(reports, n.settings)
	return &delivery{ids: unsent, report: rep, entries: rep.Timeline}
}

// skip counts everything about p as sent.
func (n *Notifier) skip(c *channel, p *pending) {
	n.addSent(c, p, rollback.Notified{Entries: keys(p.unsent[c])})
}

// stormKey is the key of the entry that says that a record is in a storm.
func stormKey(p *pending) string {
	e, _ := p.report.First(report.EntryStorm)
	return e.Key
}
