package scenarios

import (
	"testing"
	"time"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/tests/env/sandbox"
	"github.com/upcommerce/backout/tests/env/stage"
)

// A client whose session is with the canary, and one whose header chooses it, leave it when an alert takes it out of rotation, and are back
// after the hold.
func TestClientsWithASessionOrAHeaderLeaveTheCanary(t *testing.T) {
	t.Parallel()
	const prefix = `nnotations.nginx\.ingress\.kubernetes\.io/`
	st := empty(t)
	b := backout(t, st, 0, nil)
	am := alertmanager(t, st, 0, b)
	for i, c := range []struct {
		name, version, header, value string
		values                       []string
	}{
		{"a session", "v3", "Cookie", "seat=" + stage.CanaryService, []string{"ingress.a" + prefix + "affinity=cookie", "ingress.a" + prefix + "session-cookie-name=seat"}},
		{"a header", "v4", "X-Beta", "always", []string{"canary.ingressA" + prefix + "canary-by-header=X-Beta"}},
	} {
		install(t, st, stage.Release, append(stage.Canary(c.version, "yellow", percent), c.values...)...)
		client := opened(t, st, "v1", c.version).With(c.header, c.value)
		awaitThere(t, client, true)
		if err := am.Fire(limited(t), sandbox.Alert{Labels: labels(map[string]string{"backout": "shed", "version": c.version})}); err != nil {
			t.Fatal(err)
		}
		r := record(t, b, i+1, func(r rollback.Record) bool { return r.Hold.Active() })
		t.Logf("%s: shed %s after the alert was received", c.name, r.Shed.Done.Sub(r.Opened).Round(time.Millisecond))
		awaitThere(t, client, false)
		command(t, st, "unhold", demo)
		record(t, b, i+1, closed)
		awaitThere(t, client, true)
		if weight := look(t, st).Weight; weight != "20" {
			t.Errorf("%s: weight %s after the hold, want 20", c.name, weight)
		}
	}
}

// awaitThere waits until 20 requests of the client in a row get a page of the canary, or until none does.
func awaitThere(t *testing.T, client *stage.Shoppers, there bool) {
	t.Helper()
	ctx := limited(t)
	for inARow := 0; inARow < 20; inARow++ {
		v := client.Visit(ctx)
		if v.Failed() {
			t.Fatalf("the client got no page: %s", v)
		}
		if (v.Backend == stage.CanaryService) != there {
			inARow = -1
		}
	}
}
