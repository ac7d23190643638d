package rollback_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/upcommerce/backout/rollback"
)

func TestNotifiedAddKeepsEveryEntryOnceAndTheNewerMessage(t *testing.T) {
	early := rollback.Notified{Entries: []string{"shed", "held"}, MessageID: "C1:1", At: time.Unix(1, 0)}
	late := rollback.Notified{Entries: []string{"held", "hold-ended"}, MessageID: "C1:2", At: time.Unix(2, 0)}
	for name, both := range map[string]rollback.Notified{"late to early": early.Add(late), "early to late": late.Add(early)} {
		if len(both.Entries) != 3 || both.MessageID != "C1:2" || !both.At.Equal(late.At) {
			t.Errorf("%s: got %+v; want every entry once, and the newer message", name, both)
		}
	}
	if !slices.Equal(early.Entries, []string{"shed", "held"}) || !early.Has("held") || early.Has("hold-ended") {
		t.Errorf("Add does not change its receiver: got %+v", early)
	}
}

// TestNotifiedIsBounded: a record that is held, lifted and held again for months has ever new
// entries.
func TestNotifiedIsBounded(t *testing.T) {
	n := rollback.Notified{Entries: []string{"shed"}, MessageID: "C1:1", At: time.Unix(1, 0)}
	timeline := []string{"shed", "held/999"}
	for i := range 1000 {
		n = n.Add(rollback.Notified{Entries: []string{fmt.Sprintf("held/%d", i)}, At: time.Unix(int64(i), 0)}).Bounded(timeline)
	}
	if len(n.Entries) != rollback.MaxEntries || n.MessageID != "C1:1" {
		t.Errorf("the record keeps %d entries and the message: got %d, %q", rollback.MaxEntries, len(n.Entries), n.MessageID)
	}
	for _, entry := range append(timeline, "held/998") {
		if !n.Has(entry) {
			t.Errorf("%s would be sent again: it is of the timeline, or one of the newest", entry)
		}
	}
}
