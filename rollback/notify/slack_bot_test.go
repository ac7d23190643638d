package notify

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/notify/slacktest"
	"github.com/upcommerce/backout/rollback/report/reporttest"
)

func TestAThreadForEachRecordOutlivesTheProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slack := fakeSlack()
		l := &memoryLedger{}
		c := botOnly(t)
		first := newTestNotifier(t, c, slackHosts(slack), l)
		stop := first.start(t)
		begin := time.Now()
		l.put(t, actingSince(begin, reporttest.RolledBack))
		time.Sleep(10 * time.Second)
		stop() // another process follows, in the middle of the thread

		second := newTestNotifier(t, c, slackHosts(slack), l)
		second.Notify(l.record(reporttest.Key()))
		second.start(t)
		time.Sleep(10 * time.Second)
		l.put(t, actingSince(begin, recovered()))
		time.Sleep(10 * time.Second)

		all := slack.Messages()
		if len(all) != 3 {
			t.Fatalf("one message and two in its thread, got %d: %+v", len(all), all)
		}
		if _, err := json.Marshal(all); err != nil {
			t.Errorf("the fake's messages cannot be shown: %v", err)
		}
		parent := all[0]
		if !strings.Contains(parent.Text, ": recovered") || parent.Edits != 2 {
			t.Errorf("the record's message says how far it has come, updated with each detail: %d edits\n%s", parent.Edits, parent.Text)
		}
		for _, m := range all[1:] {
			if m.ThreadTS != parent.TS {
				t.Errorf("a detail is outside of the thread: %+v", m)
			}
		}
		if !strings.Contains(all[1].Text, "out of rotation") || !strings.Contains(all[2].Text, "the alert is quiet") || strings.Contains(all[2].Text, "out of rotation") {
			t.Errorf("the thread contains each entry once:\n%s\n--\n%s", all[1].Text, all[2].Text)
		}
		if len(slack.Refusals()) > 0 {
			t.Errorf("Slack refuses: %v", slack.Refusals())
		}
	})
}

func TestADeletedMessageIsPostedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slack := fakeSlack()
		n := newTestNotifier(t, botOnly(t), slackHosts(slack), &memoryLedger{})
		n.start(t)
		begin := time.Now()
		n.ledger.put(t, actingSince(begin, reporttest.RolledBack))
		time.Sleep(10 * time.Second)
		slack.Delete(slack.Messages()[0].TS)
		n.ledger.put(t, actingSince(begin, recovered()))
		time.Sleep(10 * time.Second)
		all := slack.Messages()
		if len(all) != 3 || !strings.Contains(all[1].Text, ": recovered") || all[2].ThreadTS != all[1].TS {
			t.Errorf("a new message and its thread, got %+v", all)
		}
		if !slices.Contains(slack.Refusals(), "message_not_found") {
			t.Errorf("the fake must not know a message that was deleted: %v", slack.Refusals())
		}
	})
}

// Every client that may write ConfigMaps in a namespace can write a message ID into a record.
func TestARecordDoesNotChooseTheChannel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slack := fakeSlack()
		n := newTestNotifier(t, botOnly(t), slackHosts(slack), &memoryLedger{})
		n.start(t)
		r := actingSince(time.Now(), reporttest.RolledBack)
		r.Notified = map[string]rollback.Notified{"slack-bot": {MessageID: "CANOTHER:1700000000.000100"}}
		n.ledger.put(t, r)
		time.Sleep(10 * time.Second)
		all := slack.Messages()
		if len(all) == 0 || slices.ContainsFunc(all, func(m slacktest.Message) bool { return m.Channel != all[0].Channel || m.Channel == "CANOTHER" }) {
			t.Errorf("messages %+v; want them in the configured channel", all)
		}
		if refused := slack.Refusals(); len(refused) > 0 {
			t.Errorf("Slack refused %v: backout asked for a message of another channel", refused)
		}
	})
}

func TestANewSecretCountsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slack := fakeSlack()
		path := file(t, "xoxb-old")
		n := newTestNotifier(t, Config{SlackTokenFile: path, SlackChannel: "C1"}, slackHosts(slack), &memoryLedger{})
		n.start(t)
		n.ledger.put(t, actingSince(time.Now(), reporttest.RolledBack))
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := slack.Refusals(); len(got) != 1 || got[0] != "invalid_auth" || !strings.Contains(n.log.String(), "BACKOUT_SLACK_TOKEN_FILE") {
			t.Errorf("one attempt with a wrong token, and a hint: %v\n%s", got, n.log)
		}
		if err := os.WriteFile(path, []byte(botToken), 0o600); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if len(slack.Messages()) == 0 {
			t.Error("the new token is used without a restart")
		}
	})
}
