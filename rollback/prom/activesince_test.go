package prom_test

import (
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/prom"
)

// TestWrongClocks queries servers whose clock is wrong by a minute: the answer and
// active-since are the same as with a correct one.
func TestWrongClocks(t *testing.T) {
	long := ago(30 * time.Second).Truncate(time.Second)
	for _, c := range []struct {
		what   string
		server *fake
		want   rollback.Answer
	}{
		{"firing for half a minute", evaluated(ago(time.Second), alert{labels: labels(), from: long, since: long}), isFiring},
		{"firing in memory only", evaluated(ago(time.Second), alert{labels: labels(), from: long, since: long, unstored: true}), isFiring},
		{"fired for a moment at the receipt", evaluated(after(time.Second), alert{labels: labels(), from: ago(time.Second), since: long, to: receipt}), isFiring},
		{"quiet", evaluated(after(time.Second)), isQuiet},
		{"not evaluated since", evaluated(ago(time.Second)), isUnknown},
	} {
		for _, ahead := range []time.Duration{0, time.Minute, -time.Minute} {
			f := *c.server
			f.clockAhead = ahead
			got := newClient(t, prom.Config{URLs: start(t, &f)}).Firing(t.Context(), shop, badCanary, receipt)
			if got.Answer != c.want {
				t.Errorf("%s, by a clock that is ahead by %s: want %s, got %+v", c.what, ahead, c.want, got)
			}
			if c.want == isFiring && !got.ActiveSince.Equal(long) {
				t.Errorf("%s, by a clock that is ahead by %s: active-since is by this machine's clock: want %s, got %s", c.what, ahead, long, got.ActiveSince)
			}
		}
	}
}

func TestActiveSince(t *testing.T) {
	first, second := ago(time.Hour).Truncate(time.Second), ago(time.Minute).Truncate(time.Second)
	f := evaluated(ago(time.Second),
		alert{labels: labels("pod", "a"), from: second, since: second},
		alert{labels: labels("pod", "b"), from: second, since: first},
		// Neither a pending series nor another version's counts.
		alert{labels: labels("pod", "c"), from: second, since: first.Add(-time.Hour), pending: true},
		alert{labels: labels("version", "v2"), from: second, since: first.Add(-time.Hour)},
	)
	got := newClient(t, prom.Config{URLs: start(t, f)}).Firing(t.Context(), shop, badCanary, receipt)
	if !got.ActiveSince.Equal(first) {
		t.Errorf("active-since is that of the alert's earliest firing series: want %s, got %+v", first, got)
	}
}

// TestActiveSinceOfAPair has two servers, one of which was restarted and counts from then
// on. One of them answers after the other.
func TestActiveSinceOfAPair(t *testing.T) {
	steady, restarted := ago(time.Hour).Truncate(time.Second), ago(time.Minute).Truncate(time.Second)
	for _, sinces := range [][]time.Time{{steady, restarted}, {restarted, steady}} {
		fast, slow := evaluated(ago(time.Second), alert{labels: labels(), from: sinces[0], since: sinces[0]}),
			evaluated(ago(time.Second), alert{labels: labels(), from: sinces[1], since: sinces[1]})
		answered := make(chan struct{})
		answer := sync.OnceFunc(func() { close(answered) })
		first := &fake{instead: func(w http.ResponseWriter, r *http.Request) {
			fast.handler().ServeHTTP(w, r)
			if r.URL.Path == "/api/v1/query" {
				answer()
			}
		}}
		second := &fake{instead: func(w http.ResponseWriter, r *http.Request) {
			<-answered
			slow.handler().ServeHTTP(w, r)
		}}
		got := newClient(t, prom.Config{URLs: start(t, first, second)}).Firing(t.Context(), shop, badCanary, receipt)
		if got.Answer != isFiring || !got.ActiveSince.Equal(steady) {
			t.Errorf("of a pair, the earlier active-since counts, in either order: want %s, got %+v", steady, got)
		}
	}
}
