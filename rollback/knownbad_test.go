package rollback_test

import (
	"testing"
	"time"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/rollbacktest"
)

// v3 was backed out of, is deployed again as revision 4, and served for two days until v4 came.
// An alert in these two days that led to no step keeps it known bad, unless it does not count.
func TestAnAlertKeepsContentKnownBad(t *testing.T) {
	now, day := rollbacktest.Now(), 24*time.Hour
	for what, c := range map[string]struct {
		signal rollback.Signal
		target int
	}{
		"that counts":    {rollback.Signal{Level: rollback.LevelShed, Received: now.Add(-day)}, 1},
		"that observes":  {rollback.Signal{Level: rollback.LevelObserve, Received: now.Add(-day)}, 4},
		"that is denied": {rollback.Signal{Level: rollback.LevelShed, Received: now.Add(-day), Confirmation: &rollback.Confirmation{Answer: rollback.AnswerQuiet}}, 4},
	} {
		d := rollback.Decide(rollback.Case{
			Key: rollbacktest.Shop(), Policy: rollbacktest.Policy(), Now: now,
			History: rollback.History{
				{Number: 5, UID: "5", Status: rollback.StatusDeployed, Content: "c4", Versions: []string{"v4"}, Deployed: now.Add(-time.Minute)},
				{Number: 4, UID: "4", Status: rollback.StatusSuperseded, Content: "c3", Versions: []string{"v3"}, Deployed: now.Add(-2 * day)},
				{Number: 2, UID: "2", Status: rollback.StatusSuperseded, Content: "c3", Versions: []string{"v3"}, Deployed: now.Add(-4 * day)},
				{Number: 1, UID: "1", Status: rollback.StatusSuperseded, Content: "c2", Versions: []string{"v2"}, Deployed: now.Add(-5 * day)},
			},
			Records: []rollback.Record{
				{Revision: 2, UID: "2", Content: "c3", Rollback: &rollback.Step{Started: now.Add(-3 * day), Done: now.Add(-3 * day)}},
				{Revision: 4, UID: "4", Content: "c3", Signals: []rollback.Signal{c.signal}},
			},
			Signals: []rollback.Signal{{Alert: "A", Level: rollback.LevelRollback, Version: "v4", StartsAt: now, Received: now, LastSeen: now}},
		})
		if d.Target != c.target {
			t.Errorf("an alert %s: target %d (%s), want %d", what, d.Target, d.Reason, c.target)
		}
	}
}
