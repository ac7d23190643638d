package helm_test

import (
	"errors"
	"net/http"
	"testing"

	"github.com/upcommerce/backout/rollback"
)

// TestNewest: what is asked right before a weight is written.
func TestNewest(t *testing.T) {
	c := newCluster(t)
	history, err := c.History(t.Context(), web())
	if err != nil {
		t.Fatal(err)
	}
	newest := history.Accused()
	if err := c.Newest(t.Context(), web(), newest); err != nil {
		t.Errorf("revision %d is the newest: %v", newest.Number, err)
	}
	for what, r := range map[string]rollback.Revision{
		"an older one":            history[1],
		"one of another life":     {Number: newest.Number, UID: "uid-of-another-life"},
		"one that is not there":   {Number: 7, UID: newest.UID},
		"one without an identity": {Number: newest.Number},
	} {
		if err := c.Newest(t.Context(), web(), r); !errors.Is(err, rollback.ErrMoved) {
			t.Errorf("%s is not the newest: got %v", what, err)
		}
	}
	for _, unreadable := range []string{secret(newest.Number), secret(newest.Number + 1)} {
		c.before = func(_, object string) int {
			if object == "secrets/"+unreadable {
				return http.StatusInternalServerError
			}
			return 0
		}
		if err := c.Newest(t.Context(), web(), newest); err == nil || errors.Is(err, rollback.ErrMoved) {
			t.Errorf("what cannot be read proves nothing: got %v without %s", err, unreadable)
		}
	}
}
