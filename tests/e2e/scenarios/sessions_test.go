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
	install(t, st, stage.Release, append(stage.Canary("v3", "yellow", percent),
		"ingress.a"+prefix+"affinity=cookie", "ingress.a"+prefix+"session-cookie-name=seat", "canary.ingressA"+prefix+"canary-by-header=X-Beta")...)
	all := opened(t, st, "v1", "v3")
	clients := map[string]*stage.Shoppers{"a session": all.With("Cookie", "seat="+stage.CanaryService), "a header": all.With("X-Beta", "always")}
	awaitThere(t, clients, true)
	b := backout(t, st, 0, nil)
	if err := alertmanager(t, st, 0, b).Fire(limited(t), sandbox.Alert{Labels: labels(map[string]string{"backout": "shed"})}); err != nil {
		t.Fatal(err)
	}
	r := record(t, b, 1, func(r rollback.Record) bool { return r.Hold.Active() })
	t.Logf("shed %s after the alert was received", r.Shed.Done.Sub(r.Opened).Round(time.Millisecond))
	awaitThere(t, clients, false)
	command(t, st, "unhold", demo)
	record(t, b, 1, closed)
	awaitThere(t, clients, true)
	if weight := look(t, st).Weight; weight != "20" {
		t.Errorf("weight %s after the hold, want 20", weight)
	}
}

// awaitThere waits until 20 requests of each client in a row get a page of the canary, or until none does.
func awaitThere(t *testing.T, clients map[string]*stage.Shoppers, there bool) {
	t.Helper()
	for name, client := range clients {
		ctx := limited(t)
		for inARow := 0; inARow < 20; inARow++ {
			v := client.Visit(ctx)
			if v.Failed() {
				t.Fatalf("a client with %s got no page: %s", name, v)
			}
			if (v.Backend == stage.CanaryService) != there {
				inARow = -1
			}
		}
	}
}
