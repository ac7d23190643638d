package ledger_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/runtime"

	"github.com/upcommerce/backout/rollback/ledger"
)

// TestAnotherReplicaTakesOver kills leaders at all moments between two renewals.
func TestAnotherReplicaTakesOver(t *testing.T) {
	const kills = 200
	var longest, sum time.Duration
	for i := range kills {
		synctest.Test(t, func(t *testing.T) {
			s := &leaseStore{}
			a := s.start(t, "a", 0)
			<-a.led
			b, c := s.start(t, "b", 0), s.start(t, "c", 0)
			time.Sleep(20*time.Second + time.Duration(i)*7*time.Millisecond)
			a.setFault(unreachable)
			killed := time.Now()
			select {
			case <-b.led:
			case <-c.led:
			}
			took := time.Since(killed)
			sum += took
			longest = max(longest, took)
			if a.Held() == nil {
				t.Errorf("when another replica leads, the previous leader no longer holds the lease: taken over after %s", took)
			}
			time.Sleep(10 * time.Second)
			if (b.Held() == nil) == (c.Held() == nil) {
				t.Errorf("one of the two replicas leads: %v, %v", b.Held(), c.Held())
			}
			end(a, b, c)
		})
	}
	t.Logf("%d leaders killed: another replica led after %s on average, %s at most", kills, (sum / kills).Round(time.Millisecond), longest.Round(time.Millisecond))
	if bound := 8200 * time.Millisecond; longest > bound {
		t.Errorf("with the defaults, another replica leads within %s: took %s", bound, longest)
	}
}

// TestTwoReplicasNeverLeadAtOnce: three replicas are cut off, frozen and healed in turn; the
// test looks every 10 ms.
func TestTwoReplicasNeverLeadAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &leaseStore{}
		var all []*replica
		for i := range 3 {
			all = append(all, s.start(t, fmt.Sprint("r", i), 0))
		}
		leaders := map[string]bool{}
		for tick := range 60_000 { // ten minutes
			if tick%1300 == 700 {
				i := tick / 1300 % 3
				all[i].setFault([]func(func() (runtime.Object, error)) (runtime.Object, error){unreachable, frozen(30 * time.Second), frozen(4 * time.Second)}[tick/1300%2+tick/2600%2])
			}
			if tick%1300 == 1200 {
				all[tick/1300%3].setFault(nil)
			}
			for i, r := range all {
				select {
				case _ = <-r.run:
					all[i] = s.start(t, fmt.Sprint(r.name, "'"), 0)
				default:
				}
			}
			var held []string
			for _, r := range all {
				if r.Held() == nil {
					held = append(held, r.name)
					leaders[r.name] = true
				}
			}
			if len(held) > 1 {
				t.Fatalf("two replicas never lead at the same time: %v", held)
			}
			time.Sleep(10 * time.Millisecond)
		}
		if len(leaders) < 5 {
			t.Errorf("this test sees the leader change: got %v", leaders)
		}
		end(all...)
	})
}

// frozen is a process that is stopped while the API server answers: its request is done, and
// it receives the answer much later.
func frozen(d time.Duration) func(func() (runtime.Object, error)) (runtime.Object, error) {
	return func(send func() (runtime.Object, error)) (runtime.Object, error) {
		object, err := send()
		time.Sleep(d)
		return object, err
	}
}

// TestAStoppedLeaderLosesTheLease: the leader is stopped for 30 s in the middle of a
// renewal.
func TestAStoppedLeaderLosesTheLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &leaseStore{}
		a := s.start(t, "a", 0)
		<-a.led
		b := s.start(t, "b", 0)
		time.Sleep(time.Minute)
		a.setFault(frozen(30 * time.Second))
		<-b.led
		if err := a.Held(); !errors.Is(err, ledger.ErrNotLeader) || !strings.Contains(err.Error(), "was renewed") {
			t.Errorf("when b leads, a no longer holds the lease, although it does not know of b yet: got %v", err)
		}
		a.setFault(nil)
		select {
		case <-a.ended:
			t.Error("a is still stopped here")
		default:
		}
		err := <-a.run
		if !errors.Is(err, ledger.ErrNotLeader) || !strings.Contains(err.Error(), "the lease went to b") {
			t.Errorf("the error says that the lease is lost, and which replica has it: got %v", err)
		}
		if <-a.ended; !errors.Is(a.cause, ledger.ErrNotLeader) {
			t.Errorf("when the lease is lost, the work's context ends with the reason: got %v", a.cause)
		}
		if s.holder() != "b" || b.Held() != nil {
			t.Errorf("a does not give up b's lease: it is held by %q", s.holder())
		}
		if err := a.Run(t.Context(), func(context.Context) {}); err == nil || !strings.Contains(err.Error(), "again") {
			t.Errorf("a replica that lost the lease has to restart: got %v", err)
		}
		end(b)
	})
}

// TestSlowRenewalsKeepTheLease: no other replica was there, so that nothing was lost.
func TestSlowRenewalsKeepTheLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &leaseStore{}
		a := s.start(t, "a", 0)
		<-a.led
		a.setFault(frozen(3 * time.Second))
		time.Sleep(10 * time.Second)
		a.setFault(nil)
		time.Sleep(5 * time.Second)
		if err := a.Held(); err != nil {
			t.Errorf("a slow renewal counts: got %v", err)
		}
		end(a)
	})
}

// TestALeaseThatAnotherReplicaHeldIsLost: b led and gave up while a was stopped. client-go's
// elector would let a lead again as if nothing had happened.
func TestALeaseThatAnotherReplicaHeldIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &leaseStore{}
		a := s.start(t, "a", 0)
		<-a.led
		b := s.start(t, "b", 0)
		time.Sleep(time.Minute)
		a.setFault(func(send func() (runtime.Object, error)) (runtime.Object, error) {
			time.Sleep(30 * time.Second)
			return send()
		})
		<-b.led
		a.setFault(nil)
		end(b)
		if s.holder() != "" {
			t.Fatalf("b gives the lease up: it is held by %q", s.holder())
		}
		if err := <-a.run; !errors.Is(err, ledger.ErrNotLeader) || !strings.Contains(err.Error(), "the lease has no holder") {
			t.Errorf("a replica that did not hold the lease for a while has lost it: got %v", err)
		}
		if s.holder() != "" {
			t.Errorf("a replica that lost the lease does not take it again: held by %q", s.holder())
		}
	})
}

// TestAStoppedLeaderDoesNotGiveUpTheNextOnesLease: the leader is stopped, b leads, and the
// first thing that happens to the previous leader is that its context ends.
func TestAStoppedLeaderDoesNotGiveUpTheNextOnesLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &leaseStore{}
		a := s.start(t, "a", 0)
		<-a.led
		b := s.start(t, "b", 0)
		time.Sleep(time.Minute)
		a.setFault(frozen(30 * time.Second))
		<-b.led
		a.setFault(nil)
		a.stop()
		if err := <-a.run; err != nil {
			t.Errorf("Run returns no error when its context ends: got %v", err)
		}
		if s.holder() != "b" || b.Held() != nil {
			t.Errorf("a does not give up b's lease: it is held by %q", s.holder())
		}
		end(b)
	})
}
