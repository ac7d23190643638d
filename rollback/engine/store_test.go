package engine_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/report"
	"github.com/upcommerce/backout/rollback/rollbacktest"
)

// The alert arrives after the newest revision was deployed; the cache does not have that
// revision yet.
func TestAnAlertIsStoredWithTheNewestRevision(t *testing.T) {
	for name, label := range map[string]string{
		"by the cache, it is about the older one":     "version",
		"by the cache, it is about no known revision": "revision",
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster()
				c.freezeCache()
				c.upgrade("v4", "Upgrade complete")
				wait(time.Second)
				e := newEngine(t, c, rollbacktest.Policy())
				run(t, e)
				a := alert("shed")
				delete(a.Labels, "version")
				a.Labels[label] = map[string]string{"version": "v4", "revision": "3"}[label]
				deliver(t, e, a)
				wait(time.Minute)
				r := c.shopRecord(3)
				if r.UID != "uid-3" || r.Decision().Verdict != rollback.Act || !r.Shed.Succeeded() {
					t.Errorf("%s (%s); want the signal stored with revision 3, and its canary out of rotation", report.Summary(&r), r.UID)
				}
				if older, ok := c.record(rollbacktest.Shop(), 2); ok && (older.Shed != nil || older.Closed.IsZero()) {
					t.Errorf("%s; want no claim and no open record about revision 2", report.Summary(&older))
				}
			})
		})
	}
}

// The release was uninstalled and installed again, up to the same revision number; the
// cache has the former installation.
func TestAnAlertIsStoredWithThePresentInstallation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		c.freezeCache()
		present := slices.Clone(c.history[rollbacktest.Shop()])
		for i := range present {
			present[i].UID, present[i].Deployed = present[i].UID+"-again", present[i].Deployed.Add(30*time.Second)
		}
		c.history[rollbacktest.Shop()] = present
		e := newEngine(t, c, rollbacktest.Policy())
		run(t, e)
		deliver(t, e, alert("shed"))
		wait(time.Minute)
		if r := c.shopRecord(2); r.UID != "uid-2-again" || !r.Shed.Succeeded() || len(c.weightsWritten) != 1 {
			t.Errorf("%s (%s), weights written %v; want the record to be about the present installation", report.Summary(&r), r.UID, c.weightsWritten)
		}
	})
}

// The claim in the older revision's record does not count as acted on.
func TestASignalIsMovedThoughAWriteConflicts(t *testing.T) {
	for name, errs := range map[string][]error{
		"of the older record":  {nil, rollback.ErrConflict, rollback.ErrConflict},
		"of the newest record": {nil, nil, rollback.ErrConflict},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster()
				c.freezeCache()
				c.upgrade("v4", "Upgrade complete")
				wait(time.Second)
				c.saveErrors = errs
				e := newEngine(t, c, rollbacktest.Policy())
				run(t, e)
				a := alert("shed")
				a.Labels["version"] = "v4"
				deliver(t, e, a)
				wait(time.Minute)
				if r, ok := c.record(rollbacktest.Shop(), 3); !ok || !r.Shed.Succeeded() {
					t.Errorf("%s; want the signal stored with revision 3, and its canary out of rotation", report.Summary(&r))
				}
			})
		})
	}
}

func TestNoAlertIsDelayedOrDroppedOnCachedStateAlone(t *testing.T) {
	t.Run("settling", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := newCluster()
			c.freezeCache()
			c.upgrade("v4", "Upgrade complete")
			wait(time.Second)
			a := alert("rollback")
			delete(a.Labels, "version")
			a.StartsAt = time.Now().Add(-2 * time.Minute)
			deliver(t, newEngine(t, c, rollbacktest.Policy(), follower), a)
			if r, ok := c.record(rollbacktest.Shop(), 3); !ok || r.Decision().Verdict != rollback.Settling {
				t.Errorf("%s; want it settling at revision 3", report.Summary(&r))
			}
			if r, ok := c.record(rollbacktest.Shop(), 2); ok {
				t.Errorf("%s; want nothing stored about revision 2", report.Summary(&r))
			}
		})
	})
	t.Run("handled, together with one that acts", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := newCluster()
			handled, acting := alert("rollback"), alert("shed")
			storeRecord(t, c, rollbackToV2(), func(r *rollback.Record) {
				r.Revision, r.UID, r.Shed = 1, "uid-1", startedStep()
				r.Signals[0].Fingerprint, r.Signals[0].StartsAt, r.Signals[0].LastSeen = handled.Fingerprint, handled.StartsAt, time.Now()
			})
			c.freezeCache()
			r := c.shopRecord(1)
			r.Shed, r.Closed = nil, time.Now()
			if _, err := c.Save(t.Context(), r); err != nil {
				t.Fatal(err)
			}
			deliver(t, newEngine(t, c, rollbacktest.Policy(), follower), handled, acting)
			if r := c.shopRecord(2); len(r.Signals) != 2 {
				t.Errorf("%d signals stored; want both: the claim at the older revision was given up", len(r.Signals))
			}
		})
	})
}

func TestNothingIsStoredOnOutdatedRecords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		storeRecord(t, c, rollbackToV2(), liftHold)
		c.lagging = true
		e := newEngine(t, c, rollbacktest.Policy())
		run(t, e)
		deliver(t, e, alert("rollback"))
		wait(time.Hour)
		if r := c.shopRecord(2); len(c.weightsWritten) != 0 || c.rollbacks != 0 || r.Closed.IsZero() {
			t.Errorf("weights written %v, %d rollbacks, %s; an operator has lifted the hold, and the API server's cache does not have that yet",
				c.weightsWritten, c.rollbacks, report.Summary(&r))
		}
	})
}

func TestAnAlertFromBeforeAnUpgradeStaysWithItsRevision(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		e := newEngine(t, c, rollbacktest.Policy())
		deliver(t, e, alert("rollback"))
		wait(time.Second)
		c.upgrade("v4", "Upgrade complete")
		run(t, e)
		wait(time.Hour)
		if r, ok := c.record(rollbacktest.Shop(), 3); ok || len(c.weightsWritten) != 0 {
			t.Errorf("weights written %v, %s; want no record of revision 3", c.weightsWritten, report.Summary(&r))
		}
	})
}

// A record about another revision needs no further work, but closing it may exceed the
// number of records that are kept.
func TestAnAlertAboutAnotherRevisionIsStoredClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		p := rollbacktest.Policy()
		p.KeepRecords = 1
		storeRecord(t, c, rollbackToV2(), func(r *rollback.Record) {
			r.Revision, r.UID, r.Content = 9, "uid-of-another-installation", "c0"
			r.Opened, r.Closed = time.Now().Add(-time.Hour), time.Now().Add(-time.Hour)
		})
		a := alert("rollback")
		a.Labels["revision"] = "1"
		written := c.versions
		deliver(t, newEngine(t, c, p, follower), a)
		r := c.shopRecord(2)
		if r.Decision().Verdict != rollback.Stale || r.Closed.IsZero() || c.versions != written+1 {
			t.Errorf("%s, closed %v, after %d writes; want it stored once, and closed", report.Summary(&r), r.Closed, c.versions-written)
		}
		e := newEngine(t, c, p)
		run(t, e)
		wait(time.Second)
		e.OnRecord(r)
		wait(time.Second)
		if _, ok := c.record(rollbacktest.Shop(), 9); ok {
			t.Error("the old record still exists; want it pruned when another one is closed, by whichever replica")
		}
	})
}

func TestAnAlertAboutAnotherRevisionClosesNoRecordThatHasWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		c.weight = "0"
		storeRecord(t, c, rollback.Decision{Verdict: rollback.Act, Shed: true}, func(r *rollback.Record) {
			r.Signals[0].Revision = 1
			r.Shed = doneStep()
			r.Weights = []rollback.Weight{{Kind: "Ingress", Name: "shop-canary", From: "20", To: "0"}}
		})
		e := newEngine(t, c, rollbacktest.Policy())
		a := alert("shed")
		a.Labels["revision"] = "1"
		deliver(t, e, a)
		run(t, e)
		wait(time.Minute)
		if r := c.shopRecord(2); !r.Closed.IsZero() || !r.Hold.Active() {
			t.Errorf("%s, closed %v; want the zero of the earlier decision held", report.Summary(&r), r.Closed)
		}
	})
}

func TestTheFirstDecisionIsStoredWithItsTrace(t *testing.T) {
	c := newCluster()
	deliver(t, newEngine(t, c, rollbacktest.Policy()), alert("rollback"))
	if r := c.shopRecord(2); r.Trace == nil || len(r.Trace.Checks) == 0 || len(r.Trace.Candidates) != 1 {
		t.Errorf("the record that Accept stores has no complete trace: got %+v", r.Trace)
	}
}
