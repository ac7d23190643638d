package notify

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/report"
	"github.com/upcommerce/backout/rollback/report/reporttest"
)

// forgedHold is a record as another client can write it, with a hold as its only content.
func forgedHold(namespace string, i int, since time.Time) rollback.Record {
	k := rollback.Key{Namespace: namespace, Release: fmt.Sprint("web", i)}
	return rollback.Record{
		Key: k, Revision: 7, UID: fmt.Sprint("uid-", i), Opened: since, Hold: &rollback.Hold{Since: since}, Unsigned: true,
		Decisions: []rollback.Decision{rollback.OrderedHold(k, "mallory", since)},
	}
}

// TestAnUnsignedRecordSilencesNothing: another client stores the record with a list of what
// was sent, and puts the signed text back.
func TestAnUnsignedRecordSilencesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slack := fakeSlack()
		n := newTestNotifier(t, webhookOnly(t), slackHosts(slack), &memoryLedger{})
		n.start(t)
		signed := actingSince(time.Now(), reporttest.Verified(rollback.OutcomeNotRecovered, "the alert still fires"))
		forged := signed
		forged.Unsigned, forged.Closed = true, time.Time{}
		forged.Notified = map[string]rollback.Notified{"slack-webhook": {Entries: keys(report.Of(signed, settings()).Timeline), At: time.Now()}}
		n.Notify(forged)
		time.Sleep(time.Second)
		n.Notify(signed)
		time.Sleep(time.Minute)
		if hooked := slack.Hooked(); len(hooked) == 0 || !strings.Contains(hooked[len(hooked)-1].Text, "not recovered") {
			t.Errorf("the list in an unsigned record counts for it alone: sent %+v", hooked)
		}
		n.mu.Lock()
		defer n.mu.Unlock()
		for id := range n.pending {
			if id.unsigned {
				t.Error("an unsigned record is forgotten once the signed one is back")
			}
		}
	})
}

// TestAStormOfTheFutureDelaysNoOther: no record can say that a storm was sent in 2999.
func TestAStormOfTheFutureDelaysNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slack := fakeSlack()
		n := newTestNotifier(t, webhookOnly(t), slackHosts(slack), &memoryLedger{})
		n.start(t)
		first := reporttest.Shift(reporttest.Records()["storm"], time.Now())
		first.Notified = map[string]rollback.Notified{"slack-webhook": {Entries: keys(report.Of(first, settings()).Timeline), At: time.Now().AddDate(900, 0, 0)}}
		n.Notify(first)
		time.Sleep(time.Hour)
		next := reporttest.Shift(reporttest.Records()["storm"], time.Now())
		next.Release = "next"
		n.Notify(next)
		time.Sleep(time.Minute)
		if n := len(slack.Hooked()); n != 1 {
			t.Errorf("%d messages about a storm an hour later, want 1", n)
		}
	})
}

// TestUnsignedRecordsDelayNoOtherTeam: another client stores 1,500 records with a hold of
// long ago.
func TestUnsignedRecordsDelayNoOtherTeam(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slack := fakeSlack()
		n := newTestNotifier(t, webhookOnly(t), slackHosts(slack), &memoryLedger{})
		old := time.Now().AddDate(-10, 0, 0)
		for i := range 1500 {
			n.Notify(forgedHold("shop", i, old))
		}
		n.mu.Lock()
		if kept := n.unsignedIn("shop"); kept != maxUnsigned {
			t.Errorf("%d unsigned records of a namespace are kept, want %d", kept, maxUnsigned)
		}
		n.mu.Unlock()
		n.Notify(actingSince(time.Now(), reporttest.RolledBack))
		time.Sleep(2 * gatherTime)
		n.start(t)
		time.Sleep(500 * time.Millisecond)
		if hooked := slack.Hooked(); len(hooked) == 0 || !strings.Contains(hooked[0].Text, "shop/web rolled back") {
			t.Errorf("a signed record is sent first: sent %+v", hooked)
		}
	})
}

// TestUnsignedRecordsGiveWay: the memory is full of those of 200 namespaces.
func TestUnsignedRecordsGiveWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newTestNotifier(t, webhookOnly(t), slackHosts(fakeSlack()), &memoryLedger{})
		for i := range maxPending {
			n.Notify(forgedHold(fmt.Sprint("shop", i/maxUnsigned), i, time.Now()))
		}
		r := actingSince(time.Now(), reporttest.RolledBack)
		n.Notify(r)
		n.mu.Lock()
		defer n.mu.Unlock()
		if _, kept := n.pending[identityOf(&r)]; !kept || len(n.pending) != maxPending {
			t.Errorf("a signed record takes the place of an unsigned one: kept %t, %d in all", kept, len(n.pending))
		}
	})
}

// TestUnsignedRecordsAreSentInTheOrderOfTheirReceipt: their times are those of another client.
func TestUnsignedRecordsAreSentInTheOrderOfTheirReceipt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slack := fakeSlack()
		n := newTestNotifier(t, webhookOnly(t), slackHosts(slack), &memoryLedger{})
		n.Notify(forgedHold("payments", 1, time.Now()))
		time.Sleep(time.Second)
		n.Notify(forgedHold("shop", 2, time.Now().AddDate(-10, 0, 0)))
		time.Sleep(2 * gatherTime)
		n.start(t)
		time.Sleep(10 * time.Second)
		if hooked := slack.Hooked(); len(hooked) != 2 || !strings.Contains(hooked[0].Text, "payments/web1") {
			t.Errorf("the one that was received first is sent first: sent %+v", hooked)
		}
	})
}
