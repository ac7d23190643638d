package kept

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// offer lends a sandbox without content, and returns its place and the lease of the test that takes it.
func offer(t *testing.T) (Place, Offer, <-chan *Lease) {
	t.Helper()
	p, o := Place(filepath.Join(t.TempDir(), "kept")), Offer{Dir: shortDir(t), Build: "one"}
	unlock, err := p.Lock()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(unlock)
	offered, leases := make(chan struct{}), make(chan *Lease, 1)
	go func() {
		_, lease, err := p.Lend(t.Context(), o, func() { close(offered) })
		if err != nil {
			t.Error(err)
		}
		leases <- lease
	}()
	<-offered
	return p, o, leases
}

// shortDir is a directory whose path leaves room for a socket.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "") //nolint:usetesting // t.TempDir's path is too long for a socket in it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func anything(Offer) error { return nil }

func TestOneTestTakesAnOffer(t *testing.T) {
	p, want, leases := offer(t)
	var taken atomic.Pointer[Lease]
	var refused atomic.Int32
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			o, lease, err := p.Take(t.Context(), t.Name(), anything)
			switch {
			case err != nil:
				refused.Add(1)
			case o != want:
				t.Errorf("took %v, want %v", o, want)
			default:
				taken.Store(lease)
			}
		})
	}
	all.Wait()
	if refused.Load() != 19 || taken.Load() == nil {
		t.Fatalf("%d of 20 tests were refused, want all but one", refused.Load())
	}
	if _, _, err := p.Take(t.Context(), t.Name(), anything); !errors.Is(err, errNone) {
		t.Errorf("a taken offer is still there: %v", err)
	}
	theirs := <-leases
	taken.Load().Close()
	<-theirs.Done()
}

func TestTheKeeperEndsALease(t *testing.T) {
	p, _, leases := offer(t)
	_, lease, err := p.Take(t.Context(), t.Name(), anything)
	if err != nil {
		t.Fatal(err)
	}
	(<-leases).Close()
	<-lease.Done()
}

func TestAnOfferThatDoesNotFitStays(t *testing.T) {
	p, o, leases := offer(t)
	for want, reason := range map[Offer]string{
		{Build: "two"}: "it is of an older build: end make sandbox and start it again",
		{Build: "one", APIServer: "/kube-apiserver"}: "has another API server",
	} {
		_, _, err := p.Take(t.Context(), t.Name(), func(o Offer) error { return o.Accepts(want) })
		if err == nil || !strings.Contains(err.Error(), reason) {
			t.Errorf("want the reason %q, got %v", reason, err)
		}
	}
	if _, _, err := p.Take(t.Context(), t.Name(), func(got Offer) error { return got.Accepts(Offer{Build: o.Build}) }); err != nil {
		t.Errorf("the offer that two tests refused is gone: %v", err)
	}
	<-leases
}

// A keeper that was killed leaves its file, but no socket that answers.
func TestAStaleOfferIsNotTaken(t *testing.T) {
	p := Place(t.TempDir())
	if err := p.write(Offer{Dir: filepath.Join(t.TempDir(), "removed")}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := p.Take(t.Context(), t.Name(), anything); err == nil {
		t.Error("took the offer of a keeper that does not run")
	}
	unlock, err := p.Lock()
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	if _, err := p.Read(); !errors.Is(err, errNone) {
		t.Errorf("the next keeper must remove it: %v", err)
	}
}

func TestAnOfferEndsWithItsContext(t *testing.T) {
	p, cause := Place(t.TempDir()), errors.New("the control plane has ended")
	ctx, end := context.WithCancelCause(t.Context())
	_, _, err := p.Lend(ctx, Offer{Dir: shortDir(t)}, func() { end(cause) })
	if !errors.Is(err, cause) {
		t.Errorf("want the cause, got %v", err)
	}
	if _, err := p.Read(); !errors.Is(err, errNone) {
		t.Errorf("the offer is still there: %v", err)
	}
}

func TestAPlaceHasOneKeeper(t *testing.T) {
	p := Place(t.TempDir())
	unlock, err := p.Lock()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Lock(); err == nil || !strings.Contains(err.Error(), "runs already") {
		t.Errorf("a second keeper must get an error that says what to do, got %v", err)
	}
	unlock()
	unlock, err = p.Lock()
	if err != nil {
		t.Fatal(err)
	}
	unlock()
}

func TestBuildIDIsThatOfTheLinker(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	id, err := BuildID(self)
	if err != nil || strings.Count(id, "/") != 3 {
		t.Errorf("the build ID of this test is %q, %v; want four parts", id, err)
	}
	if _, err := BuildID("/bin/sh"); err == nil {
		t.Error("a program of another linker must be an error")
	}
}
