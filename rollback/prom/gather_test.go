package prom

import (
	"cmp"
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/upcommerce/backout/rollback"
)

// TestGather has two servers, which answer when they answer.
func TestGather(t *testing.T) {
	later := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	earlier := later.Add(-10 * time.Minute)
	fires := func(server int, since time.Time) finding { return finding{server: server, kind: firing, since: since} }
	type reply struct {
		after time.Duration
		finding
	}
	for rule, c := range map[string]struct {
		replies []reply
		limit   time.Duration // of the context; 0 is none
		want    rollback.Answer
		since   time.Time
		took    time.Duration
	}{
		"the earliest time counts, whoever is the fastest": {
			[]reply{{time.Millisecond, fires(0, later)}, {20 * time.Millisecond, fires(1, earlier)}}, 0, rollback.AnswerFiring, earlier, 20 * time.Millisecond,
		},
		"the other way round": {
			[]reply{{20 * time.Millisecond, fires(0, later)}, {time.Millisecond, fires(1, earlier)}}, 0, rollback.AnswerFiring, earlier, 20 * time.Millisecond,
		},
		"a time that is not told is no time": {
			[]reply{{time.Millisecond, fires(0, time.Time{})}, {2 * time.Millisecond, fires(1, later)}}, 0, rollback.AnswerFiring, later, 2 * time.Millisecond,
		},
		"a server that does not fire changes nothing": {
			[]reply{{time.Millisecond, fires(0, later)}, {2 * time.Millisecond, finding{server: 1, kind: quiet}}}, 0, rollback.AnswerFiring, later, 2 * time.Millisecond,
		},
		"a server that is silent is not waited for long": {
			[]reply{{time.Millisecond, fires(0, later)}}, 0, rollback.AnswerFiring, later, time.Millisecond + patience,
		},
		"firing is firing when the context ends meanwhile": {
			[]reply{{time.Millisecond, fires(0, later)}}, 50 * time.Millisecond, rollback.AnswerFiring, later, 50 * time.Millisecond,
		},
		"without firing all are waited for": {
			[]reply{{time.Millisecond, finding{server: 0, kind: quiet}}, {time.Second, finding{server: 1, kind: quiet}}}, 0, rollback.AnswerQuiet, time.Time{}, time.Second,
		},
		"without firing a silent server makes it unknown": {
			[]reply{{time.Millisecond, finding{server: 0, kind: quiet}}}, 250 * time.Millisecond, rollback.AnswerUnknown, time.Time{}, 250 * time.Millisecond,
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), cmp.Or(c.limit, time.Hour))
			defer cancel()
			found := make(chan finding, 2)
			for _, r := range c.replies {
				time.AfterFunc(r.after, func() { found <- r.finding })
			}
			began := time.Now()
			got := (&Client{servers: make([]server, 2)}).gather(ctx, question{alert: "BadCanary"}, found)
			if got.Answer != c.want || !got.ActiveSince.Equal(c.since) || time.Since(began) != c.took {
				t.Errorf("%s: want %s since %s after %s, got %+v after %s", rule, c.want, c.since, c.took, got, time.Since(began))
			}
		})
	}
}
