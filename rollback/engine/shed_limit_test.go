package engine

import (
	"testing"
	"time"

	"github.com/upcommerce/backout/rollback"
)

// A rollback begins 3 seconds after the claim of a shed at the latest; a new leader, which finds
// a claim that is older, has as long for its only attempt.
func TestTheTimeOfAShedThatARollbackFollows(t *testing.T) {
	for name, c := range map[string]struct{ age, least, most time.Duration }{
		"the first attempt":  {0, 2 * time.Second, shedLimit},
		"the last attempt":   {shedLimit, 0, lateShed},
		"after a new leader": {time.Minute, 2 * time.Second, shedLimit},
	} {
		r := rollback.Record{
			Decisions: []rollback.Decision{{Verdict: rollback.Act, Shed: true, Rollback: true}},
			Shed:      &rollback.Step{Started: time.Now().Add(-c.age)},
		}
		ctx, cancel := shedContext(t.Context(), r)
		deadline, _ := ctx.Deadline()
		if left := time.Until(deadline); left < c.least || left > c.most {
			t.Errorf("%s has %s, want between %s and %s", name, left, c.least, c.most)
		}
		cancel()
	}
}
