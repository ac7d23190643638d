package engine

import (
	"testing"
	"time"

	"github.com/upcommerce/backout/rollback"
)

// A release with a signal of this morning and another one now is new for the storm; an older
// record that the watch delivers later changes nothing.
func TestASignalAfterAWindowIsANewOne(t *testing.T) {
	const window = 10 * time.Minute
	nine := time.Date(2026, 11, 27, 9, 0, 0, 0, time.UTC)
	noon := nine.Add(3 * time.Hour)
	k := rollback.Key{Namespace: "shop", Release: "web"}
	var s storms
	s.note(k, nine, nine.Add(time.Minute), window)
	s.note(k, noon, noon, window)
	if since := s.suspected[k].Since; !since.Equal(noon) {
		t.Errorf("suspected since %s, want since 12:00", since)
	}
	s.note(k, nine, nine.Add(time.Minute), window)
	if since := s.suspected[k].Since; !since.Equal(noon) {
		t.Errorf("suspected since %s after an older record, want since 12:00", since)
	}
}
