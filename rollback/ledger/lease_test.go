package ledger_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/sethvargo/go-envconfig"
	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/upcommerce/backout/rollback/ledger"
)

// shelf is where the one Lease lies. Like the API server, and unlike client-go's
// fake, it takes no update of what has changed since.
type shelf struct {
	mu      sync.Mutex
	lease   *coordinationv1.Lease
	version int
}

func (s *shelf) do(a clienttesting.Action) (runtime.Object, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	leases := schema.GroupResource{Group: "coordination.k8s.io", Resource: "leases"}
	if a.GetVerb() != "create" && s.lease == nil {
		return nil, apierrors.NewNotFound(leases, "backout")
	}
	if write, ok := a.(clienttesting.UpdateAction); ok { // a CreateAction has the same methods
		sent := write.GetObject().(*coordinationv1.Lease).DeepCopy()
		switch {
		case a.GetVerb() == "create" && s.lease != nil:
			return nil, apierrors.NewAlreadyExists(leases, "backout")
		case a.GetVerb() == "update" && sent.ResourceVersion != s.lease.ResourceVersion:
			return nil, apierrors.NewConflict(leases, "backout", nil)
		}
		s.version++
		sent.ResourceVersion = strconv.Itoa(s.version)
		s.lease = sent
	}
	return s.lease.DeepCopy(), nil
}

func (s *shelf) holder() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lease == nil {
		return ""
	}
	return *s.lease.Spec.HolderIdentity
}

// replica is one process that competes.
type replica struct {
	*ledger.Lease
	name string
	stop context.CancelFunc
	log  bytes.Buffer
	// led is closed when the replica leads, work ended when it is told to stop.
	led, ended chan struct{}
	cause      error
	run        chan error

	mu sync.Mutex
	// fault stands between the replica and the API server.
	fault func(send func() (runtime.Object, error)) (runtime.Object, error)
}

func defaults(t *testing.T) ledger.LeaseConfig {
	t.Helper()
	var c ledger.LeaseConfig
	if err := envconfig.ProcessWith(t.Context(), &envconfig.Config{Target: &c, Lookuper: envconfig.MapLookuper(nil)}); err != nil {
		t.Fatal(err)
	}
	return c
}

// start is called in a bubble. The work that a leader does lasts until it is told
// to stop, and then as long as finish.
func (s *shelf) start(t *testing.T, name string, finish time.Duration) *replica {
	t.Helper()
	r := &replica{name: name, led: make(chan struct{}), ended: make(chan struct{}), run: make(chan error, 1)}
	client := &fake.Clientset{}
	client.AddReactor("*", "leases", func(a clienttesting.Action) (bool, runtime.Object, error) {
		r.mu.Lock()
		fault := r.fault
		r.mu.Unlock()
		send := func() (runtime.Object, error) { return s.do(a) }
		if fault == nil {
			fault = func(send func() (runtime.Object, error)) (runtime.Object, error) { return send() }
		}
		object, err := fault(send)
		return true, object, err
	})
	var err error
	r.Lease, err = ledger.NewLease(ledger.LeaseOptions{
		Client: client, Namespace: "backout", Identity: name, Config: defaults(t), Log: slog.New(slog.NewTextHandler(&r.log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	r.stop = stop
	go func() {
		r.run <- r.Run(ctx, func(work context.Context) {
			close(r.led)
			<-work.Done()
			r.cause = context.Cause(work)
			time.Sleep(finish)
			close(r.ended)
		})
	}()
	return r
}

// hurt sets what stands between the replica and the API server; nil heals it.
func (r *replica) hurt(fault func(send func() (runtime.Object, error)) (runtime.Object, error)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fault = fault
}

// cut is an API server out of reach, which is all that others see of a process that
// was killed.
func cut(func() (runtime.Object, error)) (runtime.Object, error) {
	return nil, errors.New("connection refused")
}

func end(replicas ...*replica) {
	for _, r := range replicas {
		r.stop()
	}
	for _, r := range replicas {
		_ = <-r.run
	}
}

// TestTakeover kills leaders at all moments of their renewals.
func TestTakeover(t *testing.T) {
	const kills = 200
	var longest, sum time.Duration
	for i := range kills {
		synctest.Test(t, func(t *testing.T) {
			s := &shelf{}
			a := s.start(t, "a", 0)
			<-a.led
			b, c := s.start(t, "b", 0), s.start(t, "c", 0)
			time.Sleep(20*time.Second + time.Duration(i)*7*time.Millisecond)
			a.hurt(cut)
			killed := time.Now()
			select {
			case <-b.led:
			case <-c.led:
			}
			took := time.Since(killed)
			sum += took
			longest = max(longest, took)
			if a.Held() == nil {
				t.Errorf("when another replica leads, the one before has not held the lease any more: taken over after %s", took)
			}
			time.Sleep(10 * time.Second)
			if (b.Held() == nil) == (c.Held() == nil) {
				t.Errorf("one of the two leads: %v, %v", b.Held(), c.Held())
			}
			end(a, b, c)
		})
	}
	t.Logf("%d leaders killed: taken over after %s on average, %s at most", kills, (sum / kills).Round(time.Millisecond), longest.Round(time.Millisecond))
	if bound := 8200 * time.Millisecond; longest > bound {
		t.Errorf("with the defaults, another replica leads within %s: took %s", bound, longest)
	}
}

// TestNeverTwo has three replicas that are cut off, stopped and healed again and
// again, and looks every 10 ms.
func TestNeverTwo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &shelf{}
		var all []*replica
		for i := range 3 {
			all = append(all, s.start(t, fmt.Sprint("r", i), 0))
		}
		leaders := map[string]bool{}
		for tick := range 60_000 { // ten minutes
			if tick%1300 == 700 {
				i := tick / 1300 % 3
				all[i].hurt([]func(func() (runtime.Object, error)) (runtime.Object, error){cut, frozen(30 * time.Second), frozen(4 * time.Second)}[tick/1300%2+tick/2600%2])
			}
			if tick%1300 == 1200 {
				all[tick/1300%3].hurt(nil)
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
				t.Fatalf("two replicas never lead at once: %v", held)
			}
			time.Sleep(10 * time.Millisecond)
		}
		if len(leaders) < 5 {
			t.Errorf("this test sees leaders come and go: got %v", leaders)
		}
		end(all...)
	})
}

// frozen is a process that is stopped while the API server answers it: what it
// sent was done, and it hears of that much later.
func frozen(d time.Duration) func(func() (runtime.Object, error)) (runtime.Object, error) {
	return func(send func() (runtime.Object, error)) (runtime.Object, error) {
		object, err := send()
		time.Sleep(d)
		return object, err
	}
}

// TestStopped is about the leader that is stopped for 30 s in the middle of a
// renewal.
func TestStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &shelf{}
		a := s.start(t, "a", 0)
		<-a.led
		b := s.start(t, "b", 0)
		time.Sleep(time.Minute)
		a.hurt(frozen(30 * time.Second))
		<-b.led
		if err := a.Held(); !errors.Is(err, ledger.ErrNotLeader) || !strings.Contains(err.Error(), "was renewed") {
			t.Errorf("when b leads, a does not hold the lease any more, before it has heard of b: got %v", err)
		}
		a.hurt(nil)
		select {
		case <-a.ended:
			t.Error("a is still stopped here")
		default:
		}
		err := <-a.run
		if !errors.Is(err, ledger.ErrNotLeader) || !strings.Contains(err.Error(), "the lease went to b") {
			t.Errorf("who lost the lease is told so, and to whom: got %v", err)
		}
		if <-a.ended; !errors.Is(a.cause, ledger.ErrNotLeader) {
			t.Errorf("the work of who lost the lease ends, with the reason: got %v", a.cause)
		}
		if s.holder() != "b" || b.Held() != nil {
			t.Errorf("a does not give up in b's name: the lease is held by %q", s.holder())
		}
		if err := a.Run(t.Context(), func(context.Context) {}); err == nil || !strings.Contains(err.Error(), "again") {
			t.Errorf("who lost the lease has to start anew: got %v", err)
		}
		end(b)
	})
}

// TestStoppedAlone: nobody else was there, so that nothing was lost.
func TestStoppedAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &shelf{}
		a := s.start(t, "a", 0)
		<-a.led
		a.hurt(frozen(3 * time.Second))
		time.Sleep(10 * time.Second)
		a.hurt(nil)
		time.Sleep(5 * time.Second)
		if err := a.Held(); err != nil {
			t.Errorf("slow renewals are renewals: got %v", err)
		}
		end(a)
	})
}

// TestLedMeanwhile: b led and gave up while a was stopped. client-go's elector would
// let a lead on as if nothing had been.
func TestLedMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &shelf{}
		a := s.start(t, "a", 0)
		<-a.led
		b := s.start(t, "b", 0)
		time.Sleep(time.Minute)
		a.hurt(func(send func() (runtime.Object, error)) (runtime.Object, error) {
			time.Sleep(30 * time.Second)
			return send()
		})
		<-b.led
		a.hurt(nil)
		end(b)
		if s.holder() != "" {
			t.Fatalf("b gave up: the lease is held by %q", s.holder())
		}
		if err := <-a.run; !errors.Is(err, ledger.ErrNotLeader) || !strings.Contains(err.Error(), "the lease went to nobody") {
			t.Errorf("who did not hold the lease for a while has lost it: got %v", err)
		}
		if s.holder() != "" {
			t.Errorf("who lost the lease does not take it again: held by %q", s.holder())
		}
	})
}

// TestEndAfterStop: the leader is stopped, b leads, and the first thing that the
// one before hears is that it is to end.
func TestEndAfterStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &shelf{}
		a := s.start(t, "a", 0)
		<-a.led
		b := s.start(t, "b", 0)
		time.Sleep(time.Minute)
		a.hurt(frozen(30 * time.Second))
		<-b.led
		a.hurt(nil)
		a.stop()
		if err := <-a.run; err != nil {
			t.Errorf("an end in order is no error: got %v", err)
		}
		if s.holder() != "b" || b.Held() != nil {
			t.Errorf("a does not give up in b's name: the lease is held by %q", s.holder())
		}
		end(b)
	})
}

func TestLeaseDeleted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &shelf{}
		a := s.start(t, "a", 0)
		<-a.led
		time.Sleep(time.Minute)
		s.mu.Lock()
		s.lease = nil
		s.mu.Unlock()
		if err := <-a.run; !errors.Is(err, ledger.ErrNotLeader) || !strings.Contains(err.Error(), "deleted") {
			t.Errorf("a lease that was deleted is lost: anybody could have made it: got %v", err)
		}
		if s.holder() != "" {
			t.Errorf("who lost the lease does not take it again: held by %q", s.holder())
		}
	})
}

// TestCutOff: the API server is out of reach of the leader.
func TestCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &shelf{}
		a := s.start(t, "a", time.Minute)
		<-a.led
		time.Sleep(time.Minute)
		a.hurt(cut)
		last := time.Now()
		for a.Held() == nil {
			time.Sleep(time.Millisecond)
		}
		if lasted := time.Since(last); lasted > 5*time.Second {
			t.Errorf("a lease is held for five sixths of its duration at most: was held for %s", lasted)
		}
		err := <-a.run
		if lasted := time.Since(last); lasted > 5*time.Second {
			t.Errorf("Run returns when the lease is lost, though the work has not: after %s", lasted)
		}
		if !errors.Is(err, ledger.ErrNotLeader) || !strings.Contains(err.Error(), "could not be renewed for 4s") {
			t.Errorf("who could not renew the lease is told so: got %v", err)
		}
		if strings.Count(a.log.String(), "connection refused") != 1 {
			t.Errorf("an API server out of reach is logged once: got\n%s", &a.log)
		}
		<-a.ended
		if a.hurt(nil); s.holder() != "a" {
			t.Errorf("a lease that was lost is not given up: its work may go on: held by %q", s.holder())
		}
	})
}

// TestEndInOrder: the work takes 20 s to finish.
func TestEndInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &shelf{}
		a := s.start(t, "a", 20*time.Second)
		<-a.led
		b := s.start(t, "b", 0)
		time.Sleep(time.Minute)
		a.stop()
		for range 199 {
			time.Sleep(100 * time.Millisecond)
			if err := a.Held(); err != nil || s.holder() != "a" {
				t.Fatalf("the lease is kept until the work is finished: got %v, held by %q", err, s.holder())
			}
		}
		<-a.ended
		finished := time.Now()
		if err := <-a.run; err != nil {
			t.Errorf("an end in order is no error: got %v", err)
		}
		if err := a.Held(); !errors.Is(err, ledger.ErrNotLeader) {
			t.Errorf("who gave the lease up does not hold it: got %v", err)
		}
		<-b.led
		if took := time.Since(finished); took > 2*time.Second {
			t.Errorf("after an end in order, another replica leads within 2 s: took %s", took)
		}
		end(b)
		if got := a.log.String() + b.log.String(); strings.Count(got, "this replica leads") != 2 || strings.Count(got, "\n") != 2 {
			t.Errorf("who leads is logged, and where all is well nothing else: got\n%s", got)
		}
	})
}

// TestEndUnled: a replica that only waited.
func TestEndUnled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &shelf{}
		a := s.start(t, "a", 0)
		<-a.led
		b := s.start(t, "b", 0)
		time.Sleep(time.Minute)
		b.stop()
		if err := <-b.run; err != nil || s.holder() != "a" {
			t.Errorf("to end without having led is no error and changes nothing: got %v, held by %q", err, s.holder())
		}
		select {
		case <-b.led:
			t.Error("who does not have the lease does not lead")
		default:
		}
		end(a)
	})
}

// TestSameName: a container that is started again has the name of the one before.
func TestSameName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &shelf{}
		a := s.start(t, "a", 0)
		<-a.led
		time.Sleep(time.Minute)
		a.hurt(cut)
		began := time.Now()
		again := s.start(t, "a", 0)
		<-again.led
		if took := time.Since(began); took > time.Second {
			t.Errorf("a container that is started again goes on at once: took %s", took)
		}
		end(a, again)
	})
}

func TestLeaseMetric(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reg := prometheus.NewRegistry()
		s := &shelf{}
		client := &fake.Clientset{}
		client.AddReactor("*", "leases", func(a clienttesting.Action) (bool, runtime.Object, error) {
			object, err := s.do(a)
			return true, object, err
		})
		l, err := ledger.NewLease(ledger.LeaseOptions{Client: client, Namespace: "backout", Identity: "a", Config: defaults(t), Registerer: reg, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		value := func(want int) {
			t.Helper()
			text := fmt.Sprintf("# HELP backout_leader Whether this replica leads: 1 or 0.\n# TYPE backout_leader gauge\nbackout_leader %d\n", want)
			if err := testutil.GatherAndCompare(reg, strings.NewReader(text)); err != nil {
				t.Errorf("the metric says who leads: %v", err)
			}
		}
		value(0)
		if err := l.Run(t.Context(), func(context.Context) { value(1) }); err != nil {
			t.Errorf("work that ends by itself ends the lead in order: got %v", err)
		}
		value(0)
		if s.holder() != "" {
			t.Errorf("work that ends by itself gives the lease up: held by %q", s.holder())
		}
	})
}

func TestLeaseConfig(t *testing.T) {
	for _, c := range []struct {
		what                   string
		duration, renew, retry string
		want                   []string
	}{
		{"the defaults", "", "", "", nil},
		{"slower", "15s", "10s", "2s", nil},
		{"nothing", "0s", "-1s", "0s", []string{"LEASE_DURATION=0s", "LEASE_RENEW=-1s", "LEASE_RETRY=0s"}},
		{"a part of a second", "6500ms", "4s", "500ms", []string{"LEASE_DURATION=6.5s", "whole seconds"}},
		{"no time for a second try", "", "600ms", "500ms", []string{"LEASE_RENEW=600ms", "LEASE_RETRY"}},
		{"renewal ends too close to the lease", "", "4800ms", "500ms", []string{"5.3s", "LEASE_DURATION, 5s"}},
		{"two mistakes at once", "3500ms", "4s", "500ms", []string{"whole seconds", "five sixths"}},
	} {
		env := map[string]string{}
		for name, value := range map[string]string{"LEASE_DURATION": c.duration, "LEASE_RENEW": c.renew, "LEASE_RETRY": c.retry} {
			if value != "" {
				env[name] = value
			}
		}
		var config ledger.LeaseConfig
		if err := envconfig.ProcessWith(t.Context(), &envconfig.Config{Target: &config, Lookuper: envconfig.MapLookuper(env)}); err != nil {
			t.Fatal(err)
		}
		err := config.Validate()
		if (err == nil) != (c.want == nil) {
			t.Errorf("%s: got %v", c.what, err)
		}
		for _, want := range c.want {
			if err != nil && !strings.Contains(err.Error(), want) {
				t.Errorf("%s: the error names the variable and what is wrong: want %q, got %v", c.what, want, err)
			}
		}
		_, made := ledger.NewLease(ledger.LeaseOptions{Client: &fake.Clientset{}, Namespace: "backout", Identity: "a", Config: config})
		if (made == nil) != (err == nil) {
			t.Errorf("%s: no lease is made of a bad configuration: got %v", c.what, made)
		}
	}
	for _, o := range []ledger.LeaseOptions{{Namespace: "backout"}, {Identity: "a"}} {
		o.Client, o.Config = &fake.Clientset{}, defaults(t)
		if _, err := ledger.NewLease(o); err == nil {
			t.Errorf("a lease needs a namespace and a name: %+v", o)
		}
	}
}
