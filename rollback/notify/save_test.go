package notify

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/report/reporttest"
)

func TestSentEntriesAreStoredDespiteConflicts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &memoryLedger{conflict: 3}
		n := newTestNotifier(t, webhookOnly(t), slackHosts(fakeSlack()), l)
		n.start(t)
		l.put(t, actingSince(time.Now(), reporttest.RolledBack))
		time.Sleep(time.Minute)
		if r := l.record(reporttest.Key()); len(r.Notified) != 1 || !r.Rollback.Succeeded() {
			t.Errorf("the record stores what was sent and what the engine wrote: %+v", r)
		}
		if l.saves != 2 {
			t.Errorf("%d writes; want the engine's and one more", l.saves)
		}
	})
}

// TestTheListOfSentEntriesIsBounded: entries of long ago, which are no longer in the timeline, are
// dropped from the record, and nothing is sent again.
func TestTheListOfSentEntriesIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slack := fakeSlack()
		l := &memoryLedger{}
		n := newTestNotifier(t, webhookOnly(t), slackHosts(slack), l)
		n.start(t)
		r := actingSince(time.Now(), reporttest.RolledBack)
		var old []string
		for i := range 10 * rollback.MaxEntries {
			old = append(old, fmt.Sprintf("held/%d", i))
		}
		r.Notified = map[string]rollback.Notified{"slack-webhook": {Entries: old, At: time.Now()}}
		l.put(t, r)
		time.Sleep(time.Minute)
		stored := l.record(reporttest.Key()).Notified["slack-webhook"]
		if len(stored.Entries) != rollback.MaxEntries || len(slack.Hooked()) != 1 {
			t.Errorf("%d entries stored and %d messages; want %d and 1", len(stored.Entries), len(slack.Hooked()), rollback.MaxEntries)
		}
	})
}

func TestARefusedSaveDoesNotFloodTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slack := fakeSlack()
		l := &memoryLedger{}
		n := newTestNotifier(t, webhookOnly(t), slackHosts(slack), l)
		l.put(t, actingSince(time.Now(), reporttest.RolledBack))
		refuse := func(err error) { l.mu.Lock(); l.refusal = err; l.mu.Unlock() }
		refuse(errors.New("configmaps is forbidden"))
		n.start(t)
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if n := strings.Count(n.log.String(), "not stored"); n < 5 || n > 70 {
			t.Errorf("%d lines in ten minutes about a record that cannot be saved", n)
		}
		if n := len(slack.Hooked()); n != 1 {
			t.Errorf("sent %d times by a process that cannot store it, want once", n)
		}
		refuse(nil)
		time.Sleep(time.Minute)
		synctest.Wait()
		if r := l.record(reporttest.Key()); len(r.Notified) != 1 {
			t.Errorf("stored once that is possible: %+v", r.Notified)
		}
	})
}
