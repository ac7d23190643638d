package prom

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/upcommerce/backout/rollback"
)

// activeSinceWait is how long collect waits for the other servers once one has reported
// firing. Their answers change only active-since, which is worth the time that a server
// that is up takes to answer, but not the time that a shed would lose by one that is
// down.
const activeSinceWait = 100 * time.Millisecond

// collect concludes from the results that arrive in time.
func (p *pool) collect(ctx context.Context, q query, arriving <-chan result) rollback.Confirmation {
	results := make([]result, len(p.evaluators))
	for i := range results {
		results[i] = result{state: unknown, reason: noAnswer}
	}
	var enough <-chan time.Time // never, until the alert fires with the level of the signal
	for range p.evaluators {
		select {
		case r := <-arriving:
			r.panicked.Raise()
			results[r.server] = r
			known, fired := concludeFiring(results)
			if fired && !known.Level.WeakerThan(q.level) && enough == nil {
				enough = time.After(activeSinceWait)
			}
		case <-enough:
			return p.conclude(q, results)
		case <-ctx.Done():
			return p.conclude(q, results)
		}
	}
	return p.conclude(q, results)
}

// conclude returns AnswerFiring if one server reports firing.
func (p *pool) conclude(q query, results []result) rollback.Confirmation {
	if confirmation, fired := concludeFiring(results); fired {
		return confirmation
	}
	return p.concludeWithoutFiring(q, results)
}

// concludeFiring returns AnswerFiring, with the strongest level and the earliest time
// that is known, if one server reports firing and one has the rule; false otherwise.
// Samples of the alert alone prove nothing: a target that Prometheus scrapes can expose
// them.
func concludeFiring(results []result) (rollback.Confirmation, bool) {
	confirmation := rollback.Confirmation{Answer: rollback.AnswerFiring}
	fired, loaded := false, false
	for _, r := range results {
		loaded = loaded || r.loaded
		if r.fired() {
			fired = true
			confirmation.Level = stronger(confirmation.Level, r.level)
			confirmation.ActiveSince = earliest(confirmation.ActiveSince, r.since)
		}
	}
	return confirmation, fired && loaded
}

// concludeWithoutFiring returns the conclusion if no server reports firing.
func (p *pool) concludeWithoutFiring(q query, results []result) rollback.Confirmation {
	var reasons []string
	has := make(map[state]bool)
	for i, r := range results {
		has[r.state] = true
		if r.state == unknown {
			reasons = append(reasons, p.evaluators[i].label()+": "+r.reason)
		}
	}
	alert := oneLine(q.alert)
	switch {
	case len(reasons) > 0:
		return rollback.Confirmation{Answer: rollback.AnswerUnknown, Error: strings.Join(reasons, "; ")}
	case has[unlabelled]:
		return rollback.Confirmation{Answer: rollback.AnswerUnproven, Error: fmt.Sprintf(
			"the alert %s fires in %s without a backout label that is rollback, shed or observe; if backout is to act on it, set the label in the rule", alert, p.kind)}
	case has[quiet]:
		return rollback.Confirmation{Answer: rollback.AnswerQuiet}
	case has[noRule]:
		return rollback.Confirmation{Answer: rollback.AnswerUnproven, Error: fmt.Sprintf(
			"no server in %s has an alert rule named %s; find out what sends the alert, or name the server that evaluates its rule: a Grafana in %s, and its token as NAMESPACE:FILE:grafana in BACKOUT_TOKENS", p.kind.urls(), alert, grafanaServers.urls())}
	default:
		return rollback.Confirmation{Answer: rollback.AnswerUnknown, Error: fmt.Sprintf(
			"no server in %s has an alert rule with a backout label; %s", p.kind.urls(), p.kind.evaluatorHint())}
	}
}

// earliest returns the earlier of two times; a zero time is unknown and does not count.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || (!b.IsZero() && b.Before(a)) {
		return b
	}
	return a
}
