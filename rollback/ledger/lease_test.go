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

// leaseStore stores the one Lease. Like the API server, and unlike client-go's fake, it
// refuses an update of an outdated version.
type leaseStore struct {
	mu      sync.Mutex
	lease   *coordinationv1.Lease
	version int
}

func (s *leaseStore) handle(a clienttesting.Action) (runtime.Object, error) {
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

func (s *leaseStore) holder() string {
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
	// led is closed when the replica leads, ended when its work has stopped.
	led, ended chan struct{}
	cause      error
	run        chan error

	mu sync.Mutex
	// fault is what happens to the replica's requests; nil if they are sent as they are.
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

// start is called in a synctest bubble. The leader's work goes on until its context ends, and
// then as long as finish.
func (s *leaseStore) start(t *testing.T, name string, finish time.Duration) *replica {
	t.Helper()
	r := &replica{name: name, led: make(chan struct{}), ended: make(chan struct{}), run: make(chan error, 1)}
	client := &fake.Clientset{}
	client.AddReactor("*", "leases", func(a clienttesting.Action) (bool, runtime.Object, error) {
		r.mu.Lock()
		fault := r.fault
		r.mu.Unlock()
		send := func() (runtime.Object, error) { return s.handle(a) }
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

// setFault sets the fault of the replica's requests; nil ends it.
func (r *replica) setFault(fault func(send func() (runtime.Object, error)) (runtime.Object, error)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fault = fault
}

// unreachable is an API server that cannot be reached. Other replicas see no difference from
// a process that was killed.
func unreachable(func() (runtime.Object, error)) (runtime.Object, error) {
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

func TestADeletedLeaseIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &leaseStore{}
		a := s.start(t, "a", 0)
		<-a.led
		time.Sleep(time.Minute)
		s.mu.Lock()
		s.lease = nil
		s.mu.Unlock()
		if err := <-a.run; !errors.Is(err, ledger.ErrNotLeader) || !strings.Contains(err.Error(), "deleted") {
			t.Errorf("a deleted lease is lost, because any replica could have created it again: got %v", err)
		}
		if s.holder() != "" {
			t.Errorf("a replica that lost the lease does not take it again: held by %q", s.holder())
		}
	})
}

// TestALeaderThatCannotRenewStops: the leader cannot reach the API server.
func TestALeaderThatCannotRenewStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &leaseStore{}
		a := s.start(t, "a", time.Minute)
		<-a.led
		time.Sleep(time.Minute)
		a.setFault(unreachable)
		cutOff := time.Now()
		for a.Held() == nil {
			time.Sleep(time.Millisecond)
		}
		if lasted := time.Since(cutOff); lasted > 5*time.Second {
			t.Errorf("without renewals, a lease is held for five sixths of its duration at most: was held for %s", lasted)
		}
		err := <-a.run
		if lasted := time.Since(cutOff); lasted > 5*time.Second {
			t.Errorf("Run returns when the lease is lost, although the work goes on: after %s", lasted)
		}
		if !errors.Is(err, ledger.ErrNotLeader) || !strings.Contains(err.Error(), "could not be renewed for 4s") {
			t.Errorf("the error says that the lease could not be renewed: got %v", err)
		}
		if strings.Count(a.log.String(), "connection refused") != 1 {
			t.Errorf("an API server that cannot be reached is logged once: got\n%s", &a.log)
		}
		<-a.ended
		if a.setFault(nil); s.holder() != "a" {
			t.Errorf("a lease that was lost is not given up, because its work may go on: held by %q", s.holder())
		}
	})
}

// TestTheLeaseIsKeptUntilTheWorkIsFinished: the work takes 20 s to finish.
func TestTheLeaseIsKeptUntilTheWorkIsFinished(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &leaseStore{}
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
			t.Errorf("Run returns no error when its context ends: got %v", err)
		}
		if err := a.Held(); !errors.Is(err, ledger.ErrNotLeader) {
			t.Errorf("a replica that gave the lease up does not hold it: got %v", err)
		}
		<-b.led
		if took := time.Since(finished); took > 2*time.Second {
			t.Errorf("after an orderly shutdown, another replica leads within 2 s: took %s", took)
		}
		end(b)
		if got := a.log.String() + b.log.String(); strings.Count(got, "this replica leads") != 2 || strings.Count(got, "\n") != 2 {
			t.Errorf("each new leader is logged, and nothing else as long as nothing fails: got\n%s", got)
		}
	})
}

func TestAWaitingReplicaEndsWithoutTouchingTheLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &leaseStore{}
		a := s.start(t, "a", 0)
		<-a.led
		b := s.start(t, "b", 0)
		time.Sleep(time.Minute)
		b.stop()
		if err := <-b.run; err != nil || s.holder() != "a" {
			t.Errorf("a replica that only waited ends without an error and changes nothing: got %v, held by %q", err, s.holder())
		}
		select {
		case <-b.led:
			t.Error("a replica without the lease does not lead")
		default:
		}
		end(a)
	})
}

// TestARestartedContainerContinuesAtOnce: a container that restarts has the name of the
// previous one.
func TestARestartedContainerContinuesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &leaseStore{}
		a := s.start(t, "a", 0)
		<-a.led
		time.Sleep(time.Minute)
		a.setFault(unreachable)
		began := time.Now()
		restarted := s.start(t, "a", 0)
		<-restarted.led
		if took := time.Since(began); took > time.Second {
			t.Errorf("a container that restarts continues at once: took %s", took)
		}
		end(a, restarted)
	})
}

func TestLeaseMetric(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reg := prometheus.NewRegistry()
		s := &leaseStore{}
		client := &fake.Clientset{}
		client.AddReactor("*", "leases", func(a clienttesting.Action) (bool, runtime.Object, error) {
			object, err := s.handle(a)
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
				t.Errorf("the metric says whether this replica leads: %v", err)
			}
		}
		value(0)
		if err := l.Run(t.Context(), func(context.Context) { value(1) }); err != nil {
			t.Errorf("Run returns no error when the work ends by itself: got %v", err)
		}
		value(0)
		if s.holder() != "" {
			t.Errorf("the lease is given up when the work ends by itself: held by %q", s.holder())
		}
	})
}
