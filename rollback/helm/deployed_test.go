package helm

import (
	"testing"
	"time"
)

// TestDeployedAt: the API server's time has whole seconds, and Helm's has nanoseconds.
func TestDeployedAt(t *testing.T) {
	created := time.Date(2026, 11, 27, 12, 0, 7, 0, time.UTC)
	for _, c := range []struct{ byHelm, want time.Time }{
		{created.Add(900 * time.Millisecond), created.Add(900 * time.Millisecond)},
		{created.Add(time.Second), created},
		{created.Add(-time.Nanosecond), created},
		{time.Time{}, created},
	} {
		if got := deployedAt(created, c.byHelm); !got.Equal(c.want) {
			t.Errorf("created at %s, at %s by Helm: got %s, want %s", created, c.byHelm, got, c.want)
		}
	}
}
