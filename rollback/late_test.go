package rollback_test

import (
	"testing"
	"time"

	"github.com/upcommerce/backout/rollback"
)

// Prometheus' answers at the claim stay in the record: an alert that is over by then does not
// revive because another one claimed the shed.
func TestTheAnswersAtTheClaimAreKept(t *testing.T) {
	now := time.Date(2026, 11, 27, 9, 0, 0, 0, time.UTC)
	firing := rollback.Signal{Alert: "A", Fingerprint: "a", Level: rollback.LevelRollback, StartsAt: now.Add(-time.Hour)}
	over := rollback.Signal{Alert: "B", Fingerprint: "b", Level: rollback.LevelRollback, StartsAt: now.Add(-time.Hour)}
	r := rollback.Record{Signals: []rollback.Signal{firing, over}}
	r.NotePresent(r.Signals[:2:2], map[rollback.Episode]rollback.Confirmation{
		firing.Episode(): {Answer: rollback.AnswerFiring, Level: rollback.LevelShed},
		over.Episode():   {Answer: rollback.AnswerQuiet},
	}, now)
	if got := r.Signals[0]; got.EffectiveLevel() != rollback.LevelShed || !got.Resolved.IsZero() {
		t.Errorf("level %s, resolved %s; want the weaker level that it has now", got.EffectiveLevel(), got.Resolved)
	}
	if got := r.Signals[1]; !got.Resolved.Before(now) || got.Resolved.IsZero() {
		t.Errorf("resolved %s, want it over before the claim", got.Resolved)
	}
}
