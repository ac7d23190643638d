package notify

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/upcommerce/backout/rollback/report/reporttest"
)

func TestAStormIsOneMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slack := fakeSlack()
		c := webhookOnly(t)
		c.SlackTokenFile, c.SlackChannel = file(t, botToken), "C1"
		c.AlertmanagerURLs = []string{"https://am.example"}
		am := &fakeAlertmanager{}
		hosts := slackHosts(slack)
		hosts.hosts["am.example"] = am
		l := &memoryLedger{}
		n := newTestNotifier(t, c, hosts, l)
		stop := n.start(t)
		begin := time.Now()
		for i := range 30 {
			r := reporttest.Shift(reporttest.Records()["storm"], begin)
			r.Release = fmt.Sprintf("web%02d", i)
			l.put(t, r)
			time.Sleep(100 * time.Millisecond)
		}
		time.Sleep(time.Minute)
		late := reporttest.Shift(reporttest.Records()["storm"], time.Now())
		late.Release = "late"
		l.put(t, late)
		time.Sleep(time.Minute)
		stop()
		next := newTestNotifier(t, c, hosts, l) // the next leader knows what was sent
		for _, r := range l.records {
			next.Notify(r)
		}
		next.start(t)
		time.Sleep(3 * time.Minute)
		if n := len(slack.Hooked()); n != 1 {
			t.Errorf("%d messages about one storm of 31 releases, want 1", n)
		}
		if n := len(slack.Messages()); n != 1 {
			t.Errorf("%d messages of the bot about one storm, want 1", n)
		}
		if text := slack.Hooked()[0].Text; !strings.Contains(text, "shop/web00") || !strings.Contains(text, "and 10 more") {
			t.Errorf("the message names the releases:\n%s", text)
		}
		if n := am.posts(); n != 1 {
			t.Errorf("%d posts to Alertmanager, want 1", n)
		}
	})
}
