package notify

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/report"
	"github.com/upcommerce/backout/rollback/report/reporttest"
)

func TestOneMessageForEachOutcome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slack := fakeSlack()
		n := newTestNotifier(t, webhookOnly(t), slackHosts(slack), &memoryLedger{})
		n.start(t)
		begin := time.Now()
		n.ledger.put(t, actingSince(begin))
		n.ledger.put(t, actingSince(begin, reporttest.Shed))
		n.ledger.put(t, actingSince(begin, reporttest.RolledBack))
		time.Sleep(5 * time.Second)
		n.ledger.put(t, actingSince(begin, reporttest.Restored))
		for range 20 { // the alert is repeated
			time.Sleep(30 * time.Second)
			r := actingSince(begin, reporttest.Restored)
			r.Signals[0].LastSeen = time.Now()
			n.ledger.put(t, r)
		}
		n.ledger.put(t, actingSince(begin, recovered()))
		time.Sleep(2 * time.Hour)
		var titles []string
		for _, m := range slack.Hooked() {
			title, _, _ := strings.Cut(m.Text, "\n")
			titles = append(titles, title)
		}
		want := []string{"[open] shop/web rolled back from revision 7 to 5", "[closed] shop/web rolled back from revision 7 to 5: recovered"}
		if !slices.Equal(titles, want) {
			t.Errorf("one message for each outcome, none for a repeat:\n%s\nwant\n%s", strings.Join(titles, "\n"), strings.Join(want, "\n"))
		}
		if len(slack.Refusals()) > 0 {
			t.Errorf("Slack refuses: %v", slack.Refusals())
		}
		if n := n.count(t, "slack-webhook", resultSent); n != 2 {
			t.Errorf("%g deliveries are counted as sent, want 2", n)
		}
		if r := n.ledger.record(reporttest.Key()); len(r.Notified["slack-webhook"].Entries) != 2 {
			t.Errorf("the record stores what was sent: %+v", r.Notified)
		}
	})
}

// TestAStepThatKeepsFailingIsReported: once while it is retried, and once more if it
// fails for good.
func TestAStepThatKeepsFailingIsReported(t *testing.T) {
	for name, set := range map[string]func(r *rollback.Record, s *rollback.Step){
		"preflight": func(r *rollback.Record, s *rollback.Step) { r.Preflight = s },
		"shed":      func(r *rollback.Record, s *rollback.Step) { r.Shed, r.Weights = s, nil },
		"rollback":  func(r *rollback.Record, s *rollback.Step) { r.Rollback, r.Target = s, 5 },
		"restore": func(r *rollback.Record, s *rollback.Step) {
			reporttest.RolledBack(r)
			r.Rollback.Done, r.Restore = reporttest.At(0), s
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			slack, am := fakeSlack(), &fakeAlertmanager{}
			c := webhookOnly(t)
			c.AlertmanagerURLs = []string{"https://am.example"}
			hosts := slackHosts(slack)
			hosts.hosts["am.example"] = am
			n := newTestNotifier(t, c, hosts, &memoryLedger{})
			n.start(t)
			begin := time.Now()
			for attempts := 1; attempts < 10; attempts++ {
				n.ledger.put(t, actingSince(begin, reporttest.Shed, func(r *rollback.Record) {
					set(r, reporttest.FailingStep(attempts, "the API server does not answer"))
				}))
				time.Sleep(10 * time.Second)
				if asked := am.firing()[alertNeedsHelp]; asked != (attempts >= report.Patience) {
					t.Errorf("%s: after %d failures: asks Alertmanager for help: %t", name, attempts, asked)
				}
			}
			var help []string
			for _, m := range slack.Hooked() {
				if strings.HasPrefix(m.Text, "[HELP]") {
					help = append(help, m.Text)
				}
			}
			if len(help) != 1 || !strings.Contains(help[0], "the API server does not answer") {
				t.Errorf("%s: want one message that asks for help, with the error:\n%s", name, strings.Join(help, "\n"))
			}
			if name != "rollback" && name != "restore" {
				return
			}
			n.ledger.put(t, actingSince(begin, reporttest.Shed, reporttest.Closed(time.Since(begin)), func(r *rollback.Record) {
				set(r, reporttest.FailedStep(20, "given up"))
			}))
			time.Sleep(10 * time.Second)
			all := slack.Hooked()
			if last := all[len(all)-1].Text; !strings.Contains(last, "given up") {
				t.Errorf("%s: the failure for good is reported as well, last message:\n%s", name, last)
			}
		})
	}
}

func TestOnlyTheLeaderNotifies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slack := fakeSlack()
		l := &memoryLedger{}
		leads := make([]bool, 2)
		var mu sync.Mutex
		var replicas []*testNotifier
		for i := range 2 {
			replicas = append(replicas, newTestNotifier(t, webhookOnly(t), slackHosts(slack), l, func(o *Options) {
				o.Leads = func() error {
					mu.Lock()
					defer mu.Unlock()
					if leads[i] {
						return nil
					}
					return errors.New("another replica leads")
				}
			}))
			replicas[i].start(t)
		}
		l.notify(func(r rollback.Record) { replicas[0].Notify(r); replicas[1].Notify(r) })
		lead := func(a, b bool) { mu.Lock(); leads[0], leads[1] = a, b; mu.Unlock() }
		begin := time.Now()
		l.put(t, actingSince(begin, reporttest.RolledBack))
		time.Sleep(time.Minute)
		if len(slack.Hooked()) != 0 {
			t.Error("no replica leads, and one sends")
		}
		lead(true, false)
		time.Sleep(time.Minute)
		lead(false, true)
		time.Sleep(time.Minute)
		if n := len(slack.Hooked()); n != 1 {
			t.Errorf("sent %d times by two replicas that led one after the other, want once", n)
		}
		lead(false, false)
		l.put(t, actingSince(begin, recovered()))
		time.Sleep(time.Minute)
		lead(false, true)
		time.Sleep(time.Minute)
		if n := len(slack.Hooked()); n != 2 {
			t.Errorf("sent %d messages; want the outcome sent by the next leader", n)
		}
	})
}

func TestAnOldOutcomeIsNotSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slack := fakeSlack()
		n := newTestNotifier(t, webhookOnly(t), slackHosts(slack), &memoryLedger{})
		n.start(t)
		begin := time.Now()
		time.Sleep(24 * time.Hour)
		// Slack is configured today; one record was closed yesterday, the other is open.
		old := actingSince(begin, recovered())
		held := reporttest.Shift(reporttest.Records()["baked"], begin)
		held.Release = "held"
		n.ledger.put(t, old)
		n.ledger.put(t, held)
		time.Sleep(time.Minute)
		if all := slack.Hooked(); len(all) != 1 || !strings.Contains(all[0].Text, "shop/held") {
			t.Errorf("want the open record to be sent, and not the one that was closed a day ago: %+v", all)
		}
		if n := n.count(t, "slack-webhook", resultDropped); n != 0 {
			t.Errorf("%g dropped; the old record was never to be sent", n)
		}
	})
}

func TestTheMemoryIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newTestNotifier(t, Config{WebhookURL: "https://slow.example"}, &network{}, &memoryLedger{})
		for i := range maxPending + 10 {
			r := actingSince(time.Now(), reporttest.RolledBack)
			r.Release = fmt.Sprint("web", i)
			n.Notify(r)
		}
		if len(n.pending) != maxPending || n.count(t, "webhook", resultDropped) != 10 {
			t.Errorf("%d kept, %g dropped; want %d and 10", len(n.pending), n.count(t, "webhook", resultDropped), maxPending)
		}
	})
}
