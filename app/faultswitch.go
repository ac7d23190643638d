package main

import (
	"log/slog"
	"math"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// million is the resolution of an error share.
const million = 1_000_000

// faultSwitch holds the faults in effect and replaces them while the storefront runs. It is safe for concurrent use.
type faultSwitch struct {
	log     *slog.Logger
	crashes chan struct{} // receives an element when the process has to crash
	current atomic.Pointer[effect]

	mu       sync.Mutex // of a change
	draining bool
}

// effect is one set of faults while it is in effect. It has its own count of pages, so that a new set always fails the same pages.
type effect struct {
	Faults
	since  time.Time     // when the effect began
	pages  atomic.Uint64 // requested since the effect began
	lifted chan struct{} // closed when silence ends
	lift   func()        // closes lifted, the first time
	crash  *time.Timer   // nil without CrashAfter
}

// newFaultSwitch puts f, which must be valid, into effect: CrashAfter and LatencyFor count from now.
func newFaultSwitch(log *slog.Logger, f Faults) *faultSwitch {
	s := &faultSwitch{log: log, crashes: make(chan struct{}, 1)}
	s.set(f)
	return s
}

// set replaces the faults in effect with f, which must be valid. It cancels a pending crash, and ends the requests that silence
// holds.
func (s *faultSwitch) set(f Faults) {
	s.mu.Lock()
	defer s.mu.Unlock()
	lifted := make(chan struct{})
	next := &effect{Faults: f, since: time.Now(), lifted: lifted, lift: sync.OnceFunc(func() { close(lifted) })}
	if s.draining {
		next.lift()
	}
	if f.CrashAfter > 0 {
		next.crash = time.AfterFunc(time.Duration(f.CrashAfter), func() {
			select {
			case s.crashes <- struct{}{}:
			default: // one crash is enough
			}
		})
	}
	last := s.current.Swap(next)
	if last == nil {
		return
	}
	last.lift()
	if last.crash != nil {
		last.crash.Stop()
	}
}

// drain ends the requests that silence holds, now and later: they would outlast the drain.
func (s *faultSwitch) drain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.draining = true
	s.current.Load().lift()
}

// pages adds latency and errors to next.
func (s *faultSwitch) pages(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		now := s.current.Load()
		n := now.pages.Add(1) - 1
		time.Sleep(now.delay(n, time.Since(now.since))) // even after the shopper has left, like slow work
		if now.fails(n) {
			http.Error(w, "internal server error", http.StatusInternalServerError)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// silence keeps next from answering while the storefront is silent. A request that arrives during the silence is never
// answered: its connection closes when the client gives up or when the silence ends.
func (s *faultSwitch) silence(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		now := s.current.Load()
		if !now.Silent {
			next.ServeHTTP(w, r)
			return
		}
		select {
		case <-r.Context().Done():
		case <-now.lifted:
		}
		panic(http.ErrAbortHandler) // closes the connection; a plain return would answer 200
	})
}

// fails reports whether page n, counted from 0, fails. Failures are spread evenly, not at random: of any k consecutive pages
// ErrorShare*k fail, give or take one, so that a measurement over few requests is exact.
func (e *effect) fails(n uint64) bool {
	share := uint64(math.Round(e.ErrorShare * million))
	n %= million
	return (n+1)*share/million > n*share/million
}

// delay returns the additional duration of page n, requested at that age of the effect. The jitter follows the golden ratio: evenly spread over any number of pages,
// and not in step with those that fail.
func (e *effect) delay(n uint64, age time.Duration) time.Duration {
	const golden = 0x9E3779B97F4A7C15 // 2^64 divided by the golden ratio
	share := float64(n*golden>>11) / (1 << 53)
	jitter := time.Duration(share * float64(e.LatencyJitter))
	if e.LatencyFor > 0 && age >= time.Duration(e.LatencyFor) {
		return jitter
	}
	return time.Duration(e.Latency) + jitter
}
