package notify

import (
	"encoding/json"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/report"
	"github.com/upcommerce/backout/rollback/report/reporttest"
)

// fakeAlertmanager receives API v2 alerts. Its one fact worth knowing: it refuses
// alerts that end before they start, as the real one does.
type fakeAlertmanager struct {
	mu       sync.Mutex
	received [][]postedAlert
}

func (a *fakeAlertmanager) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	var alerts []postedAlert
	if q.URL.Path != "/api/v2/alerts" || json.NewDecoder(q.Body).Decode(&alerts) != nil {
		http.Error(w, "bad request", http.StatusBadRequest)
		return
	}
	for _, p := range alerts {
		if p.EndsAt.Before(p.StartsAt) || p.Labels["alertname"] == "" {
			http.Error(w, "start time must be before end time", http.StatusBadRequest)
			return
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.received = append(a.received, alerts)
}

func (a *fakeAlertmanager) posts() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.received)
}

// firing returns the names of the alerts that fire now.
func (a *fakeAlertmanager) firing() map[string]bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	ends := make(map[string]time.Time)
	for _, post := range a.received {
		for _, p := range post {
			ends[p.Labels["alertname"]] = p.EndsAt
		}
	}
	firing := make(map[string]bool)
	for name, end := range ends {
		if time.Now().Before(end) {
			firing[name] = true
		}
	}
	return firing
}

// testAlerts runs a test with a fakeAlertmanager; put stores a record that was opened when the
// test began, and waits until it is sent.
func testAlerts(t *testing.T, test func(t *testing.T, n *testNotifier, am *fakeAlertmanager, put func(r rollback.Record))) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		am := &fakeAlertmanager{}
		hosts := &network{hosts: map[string]http.Handler{"am.example": am}}
		n := newTestNotifier(t, Config{AlertmanagerURLs: []string{"https://am.example/"}}, hosts, &memoryLedger{})
		n.start(t)
		begin := time.Now()
		test(t, n, am, func(r rollback.Record) { n.ledger.put(t, reporttest.Shift(r, begin)); time.Sleep(10 * time.Second) })
		if errs := n.count(t, "alertmanager-1", resultError); errs != 0 {
			t.Errorf("Alertmanager refused %g posts:\n%s", errs, n.log)
		}
	})
}

func TestAlertsFireUntilTheRecordIsClosed(t *testing.T) {
	testAlerts(t, func(t *testing.T, _ *testNotifier, am *fakeAlertmanager, put func(rollback.Record)) {
		put(reporttest.Record(reporttest.Act(), reporttest.RolledBack))
		time.Sleep(20 * time.Minute)
		if f := am.firing(); !f[alertRolledBack] || f[alertNeedsHelp] {
			t.Errorf("firing during the verification: %v", f)
		}
		put(reporttest.Record(reporttest.Act(), recovered(), func(r *rollback.Record) {
			r.Verify.Done, r.Closed = r.Verify.Done.Add(20*time.Minute), r.Closed.Add(20*time.Minute)
		}))
		if f := am.firing(); f[alertRolledBack] {
			t.Errorf("still firing after the recovery: %v", f)
		}
		posts := am.posts()
		time.Sleep(time.Hour)
		if am.posts() != posts {
			t.Error("alerts about a closed record are still posted")
		}
	})
}

func TestAShortAlertOutlastsGroupWait(t *testing.T) {
	testAlerts(t, func(t *testing.T, _ *testNotifier, am *fakeAlertmanager, put func(rollback.Record)) {
		time.Sleep(131 * time.Second)
		put(reporttest.Record(reporttest.Act(), recovered())) // received after its end
		time.Sleep(4 * time.Minute)
		if f := am.firing(); !f[alertRolledBack] {
			t.Errorf("firing 4 minutes later: %v; want 5 minutes, or group_wait hides it", f)
		}
		time.Sleep(time.Minute)
		if f := am.firing(); len(f) != 0 {
			t.Errorf("firing for ever: %v", f)
		}
	})
}

func TestHelpIsRequestedUntilTheHoldEnds(t *testing.T) {
	testAlerts(t, func(t *testing.T, _ *testNotifier, am *fakeAlertmanager, put func(rollback.Record)) {
		held := reporttest.Record(reporttest.Hold(rollback.Baked, "it is old"), reporttest.Held)
		put(held)
		time.Sleep(time.Hour)
		if f := am.firing(); !f[alertNeedsHelp] || f[alertRolledBack] {
			t.Errorf("firing during the hold: %v", f)
		}
		put(reporttest.Record(reporttest.Hold(rollback.Baked, "it is old"), reporttest.Held, reporttest.Closed(time.Hour+10*time.Second), func(r *rollback.Record) {
			r.Hold.Ended, r.Hold.Lifted, r.Hold.Reason = reporttest.At(time.Hour+10*time.Second), true, "lifted by ann"
		}))
		if f := am.firing(); len(f) != 0 {
			t.Errorf("firing after the hold: %v", f)
		}
	})
}

func TestADeletedRecordRequestsNoHelp(t *testing.T) {
	testAlerts(t, func(t *testing.T, n *testNotifier, am *fakeAlertmanager, put func(rollback.Record)) {
		put(reporttest.Record(reporttest.Hold(rollback.Baked, "it is old"), reporttest.Held))
		n.ledger.mu.Lock()
		n.ledger.records = nil // by kubectl delete
		n.ledger.mu.Unlock()
		time.Sleep(10 * time.Minute)
		if f := am.firing(); len(f) != 0 {
			t.Errorf("firing for a record that is deleted: %v", f)
		}
	})
}

func TestPostedAlertsAreNoSignals(t *testing.T) {
	for name, r := range reporttest.Records() {
		rep := report.Of(r, settings())
		for _, a := range postedAlerts(&rep, reporttest.At(time.Hour), wasPosted) {
			if _, ok := a.Labels["backout"]; ok {
				t.Errorf("%s: a posted alert has a backout label, and backout would act on it", name)
			}
			if a.Labels["namespace"] != "shop" || a.Labels["release"] != "web" || a.Labels["revision"] != "7" || a.Labels["cluster"] != "blue" {
				t.Errorf("%s: labels %v; want namespace, release, revision and cluster", name, a.Labels)
			}
		}
	}
}
