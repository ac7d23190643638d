package notify

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/upcommerce/backout/rollback/report"
	"github.com/upcommerce/backout/rollback/report/reporttest"
)

// A record can be made so that a channel panics over its report, and every new leader sends it.
func TestAPanicOverAReportDelaysNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slack := fakeSlack()
		n := newTestNotifier(t, webhookOnly(t), slackHosts(slack), &memoryLedger{})
		send := n.channels[0].deliver
		n.channels[0].deliver = func(ctx context.Context, r *report.Report, entries []report.Entry, id string) (string, error) {
			if r.Release == "poison" {
				panic("a defect")
			}
			return send(ctx, r, entries, id)
		}
		stop := n.start(t)
		for _, release := range []string{"poison", "web"} {
			r := actingSince(time.Now(), reporttest.RolledBack)
			r.Release = release
			n.ledger.put(t, r)
		}
		time.Sleep(10 * time.Second)
		stop()
		if sent := len(slack.Hooked()); sent != 1 {
			t.Errorf("%d reports were sent, want that of the other release", sent)
		}
		if log := n.log.String(); !strings.Contains(log, "a defect") || !strings.Contains(log, "panics_test.go") {
			t.Errorf("the log has the stack: got %s", log)
		}
	})
}
