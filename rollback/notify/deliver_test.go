package notify

import (
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/upcommerce/backout/rollback/report/reporttest"
)

func TestRetryAfterIsHonoured(t *testing.T) {
	for name, c := range map[string]func(*testing.T) Config{"slack-webhook": webhookOnly, "slack-bot": botOnly} {
		synctest.Test(t, func(t *testing.T) {
			slack := fakeSlack()
			slack.Limit(90 * time.Second)
			n := newTestNotifier(t, c(t), slackHosts(slack), &memoryLedger{})
			n.start(t)
			n.ledger.put(t, actingSince(time.Now(), reporttest.RolledBack))
			time.Sleep(80 * time.Second)
			if n := len(slack.Refusals()); n != 1 {
				t.Errorf("%s: asked to wait 90 s, it tried %d times", name, n)
			}
			time.Sleep(30 * time.Second)
			if len(slack.Hooked())+len(slack.Messages()) == 0 {
				t.Errorf("%s: it is sent after the wait", name)
			}
			if n.count(t, name, resultError) != 1 || n.count(t, name, resultSent) < 1 {
				t.Errorf("%s: one error is counted, and what was sent", name)
			}
		})
	}
}

// TestASlowChannelDelaysNoOther: safety rule 8, between channels.
func TestASlowChannelDelaysNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slack := fakeSlack()
		c := webhookOnly(t)
		c.WebhookURL, c.AlertmanagerURLs = "https://slow.example", []string{"https://dead.example"}
		hosts := slackHosts(slack)
		hosts.dead = map[string]bool{"dead.example": true}
		n := newTestNotifier(t, c, hosts, &memoryLedger{})
		stop := n.start(t)
		begin := time.Now()
		for i := range 5 {
			r := actingSince(begin, reporttest.RolledBack)
			r.Release = fmt.Sprint("web", i)
			n.ledger.put(t, r)
		}
		if took := time.Since(begin); took != 0 {
			t.Errorf("Notify took %s", took)
		}
		time.Sleep(8 * time.Second)
		if n := len(slack.Hooked()); n != 5 {
			t.Errorf("%d of 5 were sent while another channel does not answer", n)
		}
		time.Sleep(2 * time.Minute)
		if sent, failed := n.count(t, "webhook", resultSent), n.count(t, "webhook", resultError); sent != 0 || failed < 5 {
			t.Errorf("a webhook that never answers: %g sent, %g errors", sent, failed)
		}
		if failed := n.count(t, "alertmanager-1", resultError); failed < 5 {
			t.Errorf("an Alertmanager that is dead: %g errors", failed)
		}
		if n := testutil.ToFloat64(n.metrics.queued.WithLabelValues("webhook")); n != 5 {
			t.Errorf("%g are shown as queued, want 5", n)
		}
		begin = time.Now()
		stop()
		if took := time.Since(begin); took > 100*time.Millisecond {
			t.Errorf("a channel that does not answer kept the process from ending for %s", took)
		}
	})
}

func TestBackoffGrowsToItsBound(t *testing.T) {
	var times []time.Time
	synctest.Test(t, func(t *testing.T) {
		c := Config{WebhookURL: "https://broken.example"}
		broken := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			times = append(times, time.Now())
			http.Error(w, "oops", http.StatusInternalServerError)
		})
		n := newTestNotifier(t, c, &network{hosts: map[string]http.Handler{"broken.example": broken}}, &memoryLedger{})
		n.start(t)
		n.ledger.put(t, actingSince(time.Now(), recovered()))
		time.Sleep(3 * time.Hour)
		if len(times) < 15 || len(times) > 25 {
			t.Errorf("%d attempts in an hour; want them to become rare", len(times))
		}
		for i := 1; i < len(times); i++ {
			if gap := times[i].Sub(times[i-1]); gap > lastRetry+2*pollInterval {
				t.Errorf("the time between two attempts grew to %s", gap)
			}
		}
		if n := n.count(t, "webhook", resultDropped); n != 1 {
			t.Errorf("%g are counted as dropped; a notification that failed for an hour after the end is given up", n)
		}
		if len(n.pending) != 0 {
			t.Errorf("%d records are kept for ever", len(n.pending))
		}
	})
}
