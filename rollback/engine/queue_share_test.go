package engine

import (
	"fmt"
	"testing"

	"github.com/upcommerce/backout/rollback"
)

// A target with any number of releases that are due leaves room for those of others.
func TestATargetLeavesPlacesForOthers(t *testing.T) {
	q := newQueue()
	unprepared := func(rollback.Key) bool { return false }
	for i := range 20 {
		q.add(rollback.Key{Namespace: "shop", Release: fmt.Sprintf("web-%d", i)})
	}
	first := q.take(unprepared)
	if len(first) != maxOfNamespace {
		t.Errorf("%d releases of one target are worked on, want %d", len(first), maxOfNamespace)
	}
	other := rollback.Key{Namespace: "payments", Release: "ledger"}
	q.add(other)
	if jobs := q.take(unprepared); len(jobs) != 1 || jobs[0].key != other {
		t.Errorf("the release of another target begins at once: got %v", jobs)
	}
	for _, j := range first {
		q.done(j, 0)
	}
	if jobs := q.take(unprepared); len(jobs) != maxOfNamespace {
		t.Errorf("%d more begin once the first are done, want %d", len(jobs), maxOfNamespace)
	}
}
