package rollback_test

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/upcommerce/backout/rollback"
)

// TestAGlanceIsConfirmedBeforeAShed: what is at hand leads to a shed, and is outdated.
func TestAGlanceIsConfirmedBeforeAShed(t *testing.T) {
	for name, happens := range map[string]struct {
		since func(t *testing.T, c *cluster)
		want  rollback.Verdict
	}{
		"somebody has paused backout": {func(_ *testing.T, c *cluster) { c.paused = "everything is paused by ann" }, rollback.Paused},
		"another replica has acted on the same alert at an older revision": {func(t *testing.T, c *cluster) {
			opened(t, c, acting(), func(r *rollback.Record) {
				r.Revision, r.UID = 1, "uid-1"
				r.Accusations[0].Fingerprint, r.Accusations[0].StartsAt = "e1-rollback", alert("rollback").StartsAt
				r.Shed, r.Closed = &rollback.Step{Started: time.Now(), Done: time.Now(), Attempts: 1}, time.Now()
			})
		}, rollback.Handled},
		"a person has lifted the hold": {func(t *testing.T, c *cluster) {
			opened(t, c, acting(), func(r *rollback.Record) {
				now := time.Now()
				r.Closed, r.Shed = now, &rollback.Step{Started: now, Done: now, Attempts: 1}
				r.Hold = &rollback.Hold{Since: now, Ended: now, Lifted: true}
			})
		}, rollback.Handled},
		"Helm uninstalls the release": {func(_ *testing.T, c *cluster) {
			c.history[shop()][0].Status = rollback.StatusUninstalling
		}, rollback.UnknownRelease},
	} {
		for who, leads := range map[string]func(*rollback.Options){"the leader": func(*rollback.Options) {}, "another replica": following} {
			t.Run(name+", "+who, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					c := newCluster()
					c.freeze()
					happens.since(t, c)
					e := newEngine(t, c, policy(), leads)
					run(t, e)
					accept(t, e, alert("rollback"))
					pass(time.Minute)
					r, _ := c.record(shop(), 2)
					if len(c.raised) != 0 || c.rollbacks != 0 {
						t.Errorf("weights %v, %d rollbacks, %s; want nothing touched", c.raised, c.rollbacks, r.Summary())
					}
					if got := r.Decision().Verdict; who == "the leader" && got != happens.want && happens.want != rollback.Handled {
						t.Errorf("the verdict is %s; want %s", got, happens.want)
					}
				})
			})
		}
	}
}

// TestAnAlertIsFiledAtTheNewestRevision: it came when that was deployed already, and
// what was at hand did not know it.
func TestAnAlertIsFiledAtTheNewestRevision(t *testing.T) {
	for name, label := range map[string]string{"it seemed to accuse the older one": "version", "it seemed to be about none": "revision"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster()
				c.freeze()
				c.upgrade("v4", "Upgrade complete")
				pass(time.Second)
				e := newEngine(t, c, policy())
				run(t, e)
				a := alert("shed")
				delete(a.Labels, "version")
				a.Labels[label] = map[string]string{"version": "v4", "revision": "3"}[label]
				accept(t, e, a)
				pass(time.Minute)
				r, _ := c.record(shop(), 3)
				if r.UID != "uid-3" || r.Decision().Verdict != rollback.Act || !r.Shed.Succeeded() {
					t.Errorf("%s (%s); want revision 3 accused, and its canary out of the traffic", r.Summary(), r.UID)
				}
				if old, ok := c.record(shop(), 2); ok && (old.Shed != nil || old.Closed.IsZero()) {
					t.Errorf("%s; want revision 2 let go", old.Summary())
				}
			})
		})
	}
}

// TestAnAlertIsFiledAtTheLifeThatIs: the release was installed anew, up to the same
// number.
func TestAnAlertIsFiledAtTheLifeThatIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		c.freeze()
		anew := slices.Clone(c.history[shop()])
		for i := range anew {
			anew[i].UID, anew[i].Deployed = anew[i].UID+"-anew", anew[i].Deployed.Add(30*time.Second)
		}
		c.history[shop()] = anew
		e := newEngine(t, c, policy())
		run(t, e)
		accept(t, e, alert("shed"))
		pass(time.Minute)
		if r, _ := c.record(shop(), 2); r.UID != "uid-2-anew" || !r.Shed.Succeeded() || len(c.raised) != 1 {
			t.Errorf("%s (%s), weights %v; want the record to be about what is installed now", r.Summary(), r.UID, c.raised)
		}
	})
}

// TestAnAlertIsFiledOnceMoreWhenTheWriteConflicts: what the older revision's record
// claimed must not count as acted on.
func TestAnAlertIsFiledOnceMoreWhenTheWriteConflicts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		c.freeze()
		c.upgrade("v4", "Upgrade complete")
		pass(time.Second)
		c.saveErrors = []error{nil, rollback.ErrConflict, rollback.ErrConflict}
		e := newEngine(t, c, policy())
		run(t, e)
		a := alert("shed")
		a.Labels["version"] = "v4"
		accept(t, e, a)
		pass(time.Minute)
		if r, ok := c.record(shop(), 3); !ok || !r.Shed.Succeeded() {
			t.Errorf("%s; want revision 3 accused, and its canary out of the traffic", r.Summary())
		}
	})
}

// TestAGlancePutsNoAlertOff: by what is at hand the alert would have to settle, or was
// acted on.
func TestAGlancePutsNoAlertOff(t *testing.T) {
	t.Run("settling", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := newCluster()
			c.freeze()
			c.upgrade("v4", "Upgrade complete")
			pass(time.Second)
			a := alert("rollback")
			delete(a.Labels, "version")
			a.StartsAt = time.Now().Add(-2 * time.Minute)
			accept(t, newEngine(t, c, policy(), following), a)
			if r, ok := c.record(shop(), 3); !ok || r.Decision().Verdict != rollback.Settling {
				t.Errorf("%s; want it settling at revision 3", r.Summary())
			}
			if r, ok := c.record(shop(), 2); ok {
				t.Errorf("%s; want nothing stored about revision 2", r.Summary())
			}
		})
	})
	t.Run("handled, beside one that acts", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := newCluster()
			one, other := alert("rollback"), alert("shed")
			opened(t, c, acting(), func(r *rollback.Record) {
				r.Revision, r.UID, r.Shed = 1, "uid-1", &rollback.Step{Started: time.Now()}
				r.Accusations[0].Fingerprint, r.Accusations[0].StartsAt, r.Accusations[0].LastSeen = one.Fingerprint, one.StartsAt, time.Now()
			})
			c.freeze()
			r, _ := c.record(shop(), 1)
			r.Shed, r.Closed = nil, time.Now()
			if _, err := c.Save(t.Context(), r); err != nil {
				t.Fatal(err)
			}
			accept(t, newEngine(t, c, policy(), following), one, other)
			if r, _ := c.record(shop(), 2); len(r.Accusations) != 2 {
				t.Errorf("%d accusations stored; want both, the claim at the older revision was given up", len(r.Accusations))
			}
		})
	})
}

// TestAShedIsNotDoneForAClosedRecord: somebody closes it after it was stored.
func TestAShedIsNotDoneForAClosedRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		c.beforeShed = func() {
			r, _ := c.record(shop(), 2)
			r.Closed = time.Now()
			if _, err := c.Save(t.Context(), r); err != nil {
				t.Error(err)
			}
		}
		e := newEngine(t, c, policy(), following)
		run(t, e)
		accept(t, e, alert("shed"))
		pass(time.Minute)
		if len(c.raised) != 0 {
			t.Errorf("weights %v; want none touched for a record that is closed", c.raised)
		}
	})
}

// TestAnAlertOfBeforeAnUpgradeStaysWhereItIs: the revision that came after it is
// another one.
func TestAnAlertOfBeforeAnUpgradeStaysWhereItIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		e := newEngine(t, c, policy())
		accept(t, e, alert("rollback"))
		pass(time.Second)
		c.upgrade("v4", "Upgrade complete")
		run(t, e)
		pass(time.Hour)
		if r, ok := c.record(shop(), 3); ok || len(c.raised) != 0 {
			t.Errorf("weights %v, %s; want no record of revision 3", c.raised, r.Summary())
		}
	})
}

func TestNobodyShedsWhoDoesNotKnowOfPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		c.pauseErrors = []error{errors.New("the API server is away")}
		e := newEngine(t, c, policy(), following)
		run(t, e)
		accept(t, e, alert("shed"))
		pass(time.Minute)
		if r, _ := c.record(shop(), 2); len(c.raised) != 0 || r.Shed.Succeeded() {
			t.Errorf("weights %v, %s; want the shed left to who can tell", c.raised, r.Summary())
		}
	})
}

// TestWhatIsFollowedIsActedOnAtOnce, and what is not is read.
func TestWhatIsFollowedIsActedOnAtOnce(t *testing.T) {
	for name, want := range map[string]time.Duration{"followed": 0, "unfollowed": time.Second} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster()
				c.unfollowed = name == "unfollowed"
				c.readTime = time.Second
				e := newEngine(t, c, policy(), following)
				begun := time.Now()
				accept(t, e, alert("shed"))
				if _, ok := c.record(shop(), 2); !ok || time.Since(begun) != want {
					t.Errorf("the record is stored (%v) after %s, want it after %s", ok, time.Since(begun), want)
				}
			})
		})
	}
}

// TestAnAlertAboutAnotherRevisionIsStoredAndDone: nobody has to look at its record
// again, but for the old ones beside it.
func TestAnAlertAboutAnotherRevisionIsStoredAndDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		p := policy()
		p.KeepRecords = 1
		opened(t, c, acting(), func(r *rollback.Record) {
			r.Revision, r.UID, r.Content, r.Opened, r.Closed = 9, "uid-of-another-life", "c0", time.Now().Add(-time.Hour), time.Now().Add(-time.Hour)
		})
		a := alert("rollback")
		a.Labels["revision"] = "1"
		written := c.versions
		accept(t, newEngine(t, c, p, following), a)
		r, _ := c.record(shop(), 2)
		if r.Decision().Verdict != rollback.Stale || r.Closed.IsZero() || c.versions != written+1 {
			t.Errorf("%s, closed %v, after %d writes; want it stored once, and closed", r.Summary(), r.Closed, c.versions-written)
		}
		leader := newEngine(t, c, p)
		run(t, leader)
		pass(time.Second)
		leader.Notice(r)
		pass(time.Second)
		if _, ok := c.record(shop(), 9); ok {
			t.Error("the old record beside it is still there; want it to go when one is closed, by whichever replica")
		}
	})
}

// TestAnAlertAboutAnotherRevisionClosesNothingThatWasBegun: the zero of an earlier
// decision is still looked after.
func TestAnAlertAboutAnotherRevisionClosesNothingThatWasBegun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		c.weight = "0"
		opened(t, c, rollback.Decision{Verdict: rollback.Act, Shed: true}, func(r *rollback.Record) {
			now := time.Now()
			r.Accusations[0].Revision = 1
			r.Shed = &rollback.Step{Started: now, Done: now, Attempts: 1}
			r.Weights = []rollback.Weight{{Kind: "Ingress", Name: "shop-canary", From: "20", To: "0"}}
		})
		e := newEngine(t, c, policy())
		a := alert("shed")
		a.Labels["revision"] = "1"
		accept(t, e, a)
		run(t, e)
		pass(time.Minute)
		if r, _ := c.record(shop(), 2); !r.Closed.IsZero() || !r.Hold.Lasts() {
			t.Errorf("%s, closed %v; want the zero held", r.Summary(), r.Closed)
		}
	})
}
