package rollback_test

import (
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
