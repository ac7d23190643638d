package engine

import (
	"testing"
	"time"

	"github.com/upcommerce/backout/rollback"
)

// Releases that were accused this morning and are accused again are newly accused; an older
// record that the watch delivers later changes nothing.
func TestAnAccusationAfterAWindowIsANewOne(t *testing.T) {
	const window = 10 * time.Minute
	nine := time.Date(2026, 11, 27, 9, 0, 0, 0, time.UTC)
	noon := nine.Add(3 * time.Hour)
	k := rollback.Key{Namespace: "shop", Release: "web"}
	var s storms
	s.note(k, nine, nine.Add(time.Minute), window)
	s.note(k, noon, noon, window)
	if since := s.suspected[k].Since; !since.Equal(noon) {
		t.Errorf("accused since %s, want since 12:00", since)
	}
	s.note(k, nine, nine.Add(time.Minute), window)
	if since := s.suspected[k].Since; !since.Equal(noon) {
		t.Errorf("accused since %s after an older record, want since 12:00", since)
	}
}
