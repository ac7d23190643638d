package prom

import (
	"cmp"
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/parallel"
)

// TestCollect has two servers, which answer at different times.
func TestCollect(t *testing.T) {
	later := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	earlier := later.Add(-10 * time.Minute)
	fires := func(server int, since time.Time) result {
		return result{server: server, state: firing, loaded: true, since: since}
	}
	type reply struct {
		after time.Duration
		result
	}
	for rule, c := range map[string]struct {
		replies []reply
		limit   time.Duration // of the context; 0 is no limit
		want    rollback.Answer
		since   time.Time
		took    time.Duration
	}{
		"the earliest time counts, not that of the fastest server": {
			[]reply{{time.Millisecond, fires(0, later)}, {20 * time.Millisecond, fires(1, earlier)}}, 0, rollback.AnswerFiring, earlier, 20 * time.Millisecond,
		},
		"the earliest time counts if its server is the fastest": {
			[]reply{{20 * time.Millisecond, fires(0, later)}, {time.Millisecond, fires(1, earlier)}}, 0, rollback.AnswerFiring, earlier, 20 * time.Millisecond,
		},
		"a time that a server does not report does not count": {
			[]reply{{time.Millisecond, fires(0, time.Time{})}, {2 * time.Millisecond, fires(1, later)}}, 0, rollback.AnswerFiring, later, 2 * time.Millisecond,
		},
		"a quiet server changes nothing": {
			[]reply{{time.Millisecond, fires(0, later)}, {2 * time.Millisecond, result{server: 1, state: quiet}}}, 0, rollback.AnswerFiring, later, 2 * time.Millisecond,
		},
		"a server that does not answer delays firing by a moment": {
			[]reply{{time.Millisecond, fires(0, later)}}, 0, rollback.AnswerFiring, later, time.Millisecond + activeSinceWait,
		},
		"the answer is firing if the context ends meanwhile": {
			[]reply{{time.Millisecond, fires(0, later)}}, 50 * time.Millisecond, rollback.AnswerFiring, later, 50 * time.Millisecond,
		},
		"quiet waits for all servers": {
			[]reply{{time.Millisecond, result{server: 0, state: quiet}}, {time.Second, result{server: 1, state: quiet}}}, 0, rollback.AnswerQuiet, time.Time{}, time.Second,
		},
		"a server that does not answer makes quiet unknown": {
			[]reply{{time.Millisecond, result{server: 0, state: quiet}}}, 250 * time.Millisecond, rollback.AnswerUnknown, time.Time{}, 250 * time.Millisecond,
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), cmp.Or(c.limit, time.Hour))
			defer cancel()
			found := make(chan result, 2)
			for _, r := range c.replies {
				time.AfterFunc(r.after, func() { found <- r.result })
			}
			began := time.Now()
			got := (&pool{kind: prometheusServers, evaluators: []evaluator{server{}, server{}}}).collect(ctx, query{alert: "BadCanary"}, found)
			if got.Answer != c.want || !got.ActiveSince.Equal(c.since) || time.Since(began) != c.took {
				t.Errorf("%s: want %s since %s after %s, got %+v after %s", rule, c.want, c.since, c.took, got, time.Since(began))
			}
		})
	}
}

// A panic over the answer of a server goes on in the step that asks: the engine counts it there.
func TestAPanicOverAnAnswerGoesOnInTheStep(t *testing.T) {
	c := &Client{pool: &pool{evaluators: []evaluator{server{}, server{}}}, servers: make([]server, 2), traffic: "vector(1)"} // they panic without a client
	k := rollback.Key{Namespace: "shop", Release: "web"}
	for what, ask := range map[string]func(){
		"Firing":        func() { c.Firing(t.Context(), k, rollback.Signal{Alert: "BadCanary"}, time.Now()) },
		"CanaryTraffic": func() { _, _ = c.CanaryTraffic(t.Context(), k, time.Now()) },
	} {
		if parallel.Try(ask) == nil {
			t.Errorf("%s swallowed the panic", what)
		}
	}
}
