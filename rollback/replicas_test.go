package rollback_test

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/upcommerce/backout/rollback"
)

func TestAReplicaThatDoesNotLeadShedsWhatItStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		e := newEngine(t, c, policy(), following)
		run(t, e)
		accept(t, e, alert("rollback"))
		pass(time.Hour)
		if c.weight != "0" || c.rollbacks != 0 || c.checks != 0 {
			t.Errorf("weight %s, %d rollbacks; want the shed and nothing else", c.weight, c.rollbacks)
		}
	})
}

func TestTheLeaderGoesOnWithWhatAnotherReplicaStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		leader, other := newEngine(t, c, policy()), newEngine(t, c, policy(), following)
		run(t, leader)
		run(t, other)
		accept(t, other, alert("rollback"))
		r, _ := c.record(shop(), 2)
		leader.Notice(r)
		pass(time.Second)
		if c.rollbacks != 1 {
			t.Errorf("%d rollbacks a second after the leader noticed the record, want 1", c.rollbacks)
		}
	})
}

func TestANewLeaderFindsWhatTheOldOneLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		opened(t, c, acting(), nil)
		var leads atomic.Bool
		e := newEngine(t, c, policy(), func(o *rollback.Options) {
			o.Leads = func() error {
				if leads.Load() {
					return nil
				}
				return errors.New("another replica leads")
			}
		})
		run(t, e)
		pass(time.Hour)
		if len(c.raised) != 0 {
			t.Fatalf("weights %v written by a replica that neither leads nor stored the alert", c.raised)
		}
		leads.Store(true)
		e.Lead()
		pass(time.Second)
		if c.rollbacks != 1 {
			t.Errorf("%d rollbacks a second after the lead was taken over, want 1", c.rollbacks)
		}
	})
}

func TestALeaderThatLosesTheLeaseStopsWriting(t *testing.T) {
	for name, when := range map[string]func(c *cluster, lose func()){
		"while it looks ahead": func(c *cluster, lose func()) { c.whileChecking = lose },
		"while Helm works":     func(c *cluster, lose func()) { c.meanwhile = lose },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster()
				var lost atomic.Bool
				e := newEngine(t, c, policy(), func(o *rollback.Options) {
					o.Leads = func() error {
						if lost.Load() {
							return errors.New("the lease is lost")
						}
						return nil
					}
				})
				run(t, e)
				when(c, func() { lost.Store(true) })
				accept(t, e, alert("rollback"))
				pass(time.Hour)
				r, _ := c.record(shop(), 2)
				if r.Rollback.Finished() || slices.Contains(c.raised, "20") {
					t.Errorf("%+v, weights %v; want neither the record nor the weight written after the lease was lost", r.Rollback, c.raised)
				}
				if c.whileChecking != nil && (r.Rollback != nil || c.rollbacks != 0) {
					t.Errorf("%+v, %d rollbacks; want none begun after the lease was lost", r.Rollback, c.rollbacks)
				}
			})
		})
	}
}

// crowd adds n releases like the shop's, and returns an alert about each.
func crowd(c *cluster, n int) []rollback.Alert {
	var alerts []rollback.Alert
	for i := range n {
		k := rollback.Key{Namespace: "canary-demo", Release: fmt.Sprintf("shop-%d", i)}
		c.history[k] = slices.Clone(c.history[shop()])
		a := alert("rollback")
		a.Labels["release"], a.Fingerprint = k.Release, fmt.Sprintf("e%d", i)
		alerts = append(alerts, a)
	}
	return alerts
}

func TestAStormIsNotTheCanaries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		e := newEngine(t, c, policy())
		run(t, e)
		accept(t, e, crowd(c, 5)...)
		pass(time.Minute)
		if c.rollbacks != 0 || len(c.raised) != 0 {
			t.Errorf("%d rollbacks, weights %v in a storm of 5 releases; want nothing touched", c.rollbacks, c.raised)
		}
		for k := range c.records {
			if r, _ := c.record(k, 2); !r.Decision().Again.Equal(r.Opened.Add(10 * time.Minute)) {
				t.Errorf("%s is decided again at %s, want when the storm is over, 10 minutes after %s", k, r.Decision().Again, r.Opened)
			}
		}
		pass(15 * time.Minute)
		if c.rollbacks != 5 {
			t.Errorf("%d rollbacks after the storm, with alerts that nobody resolved; want them decided again", c.rollbacks)
		}
	})
}

func TestFourReleasesAreNoStorm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		e := newEngine(t, c, policy())
		run(t, e)
		accept(t, e, crowd(c, 4)...)
		pass(time.Minute)
		if c.rollbacks != 4 {
			t.Errorf("%d rollbacks, want 4", c.rollbacks)
		}
	})
}

func TestAFloodOfWebhooksIsRepeatedLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		e := newEngine(t, c, policy())
		c.readTime = time.Second // the API server is slow
		var senders sync.WaitGroup
		var busy, stored atomic.Int32
		for range 200 {
			senders.Go(func() {
				switch err := e.Accept(t.Context(), []rollback.Alert{alert("rollback")}); {
				case errors.Is(err, rollback.ErrBusy):
					busy.Add(1)
				case err == nil:
					stored.Add(1)
				default:
					t.Errorf("Accept: %v", err)
				}
			})
		}
		senders.Wait()
		if busy.Load() == 0 || stored.Load() == 0 {
			t.Errorf("%d refused, %d stored; want a bound, and what is within it stored", busy.Load(), stored.Load())
		}
	})
}

func TestOldRecordsGo(t *testing.T) {
	day := 24 * time.Hour
	closed := func(revision int, age time.Duration, content string) rollback.Record {
		opened := now().Add(-age)
		return rollback.Record{
			Key: shop(), Revision: revision, UID: fmt.Sprintf("uid-%d", revision), Content: content, Opened: opened,
			Closed: opened, Rollback: &rollback.Step{Started: opened, Done: opened},
		}
	}
	history := rollback.History{{Number: 99, UID: "uid-99", Content: "good"}, {Number: 2, UID: "uid-2", Content: "bad"}}
	for name, c := range map[string]struct {
		records []rollback.Record
		want    []int
	}{
		"ten are kept": {func() (all []rollback.Record) {
			for i := range 12 {
				all = append(all, closed(i+3, time.Duration(20-i)*time.Hour, fmt.Sprint("c", i)))
			}
			return all
		}(), []int{4, 3}},
		"90 days are kept":                   {[]rollback.Record{closed(7, 89*day, "c7"), closed(8, 91*day, "c8")}, []int{8}},
		"what condemns content that is left": {[]rollback.Record{closed(2, 900*day, "bad"), closed(5, 900*day, "bad")}, nil},
		"what tells that the newest is our own": {[]rollback.Record{func() rollback.Record {
			r := closed(8, 900*day, "c8")
			r.Made = 99
			return r
		}()}, nil},
		"what is open": {[]rollback.Record{func() rollback.Record {
			r := closed(8, 900*day, "c8")
			r.Closed = time.Time{}
			return r
		}()}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			var got []int
			for _, r := range rollback.Prunable(c.records, history, policy(), now()) {
				got = append(got, r.Revision)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("records that may go: %v, want %v", got, c.want)
			}
		})
	}
}
