package prom

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/upcommerce/backout/rollback"
)

// state is what one server knows about an alert.
type state int

const (
	// unknown: the server cannot say, for the reason given.
	unknown state = iota
	// firing: it fired.
	firing
	// quiet: the rule was evaluated since, and did not fire.
	quiet
	// noRule: the server does not have the rule.
	noRule
)

// result is what one server answered.
type result struct {
	server int
	state  state
	// since is the earliest active-since time, by this machine's clock; zero if the
	// server does not report it.
	since  time.Time
	reason string
}

// activeSinceWait is how long collect waits for the other servers once one has reported
// firing. Their answers change only active-since, which is worth the time that a server
// that is up takes to answer, but not the time that a shed would lose by one that is
// down.
const activeSinceWait = 100 * time.Millisecond

// collect concludes from the results that arrive in time.
func (c *Client) collect(ctx context.Context, q query, arriving <-chan result) rollback.Confirmation {
	results := make([]result, len(c.servers))
	for i := range results {
		results[i] = result{state: unknown, reason: noAnswer}
	}
	var enough <-chan time.Time // never, until one server reports firing
	for range c.servers {
		select {
		case r := <-arriving:
			results[r.server] = r
			if r.state == firing && enough == nil {
				enough = time.After(activeSinceWait)
			}
		case <-enough:
			return c.conclude(q, results)
		case <-ctx.Done():
			return c.conclude(q, results)
		}
	}
	return c.conclude(q, results)
}

// conclude returns AnswerFiring, with the earliest time that is known, if one server
// reports firing.
func (c *Client) conclude(q query, results []result) rollback.Confirmation {
	confirmation := rollback.Confirmation{Answer: rollback.AnswerFiring}
	fired := false
	for _, r := range results {
		if r.state == firing {
			fired, confirmation.ActiveSince = true, earliest(confirmation.ActiveSince, r.since)
		}
	}
	if fired {
		return confirmation
	}
	return c.concludeWithoutFiring(q, results)
}

// concludeWithoutFiring returns the conclusion if no server reports firing.
func (c *Client) concludeWithoutFiring(q query, results []result) rollback.Confirmation {
	var reasons []string
	loaded := false
	for i, r := range results {
		loaded = loaded || r.state == quiet
		if r.state == unknown {
			reasons = append(reasons, c.servers[i].name+": "+r.reason)
		}
	}
	switch {
	case len(reasons) > 0:
		return rollback.Confirmation{Answer: rollback.AnswerUnknown, Error: strings.Join(reasons, "; ")}
	case !loaded:
		return rollback.Confirmation{Answer: rollback.AnswerUnknown, Error: fmt.Sprintf(
			"no server in BACKOUT_PROMETHEUS_URLS has an alert rule named %s: name those that evaluate it", oneLine(q.alert))}
	default:
		return rollback.Confirmation{Answer: rollback.AnswerQuiet}
	}
}

// earliest returns the earlier of two times; a zero time is unknown and does not count.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || (!b.IsZero() && b.Before(a)) {
		return b
	}
	return a
}
