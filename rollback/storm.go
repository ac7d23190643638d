package rollback

import (
	"fmt"
	"slices"
	"time"
)

// Times and bounds of a storm, besides those of the policy.
const (
	// slowStorm is the time within which more releases than the policy's number are a storm,
	// too, however slowly they come.
	slowStorm = time.Hour
	// maxStormFailures is how many rollbacks of a storm may end without recovery before the
	// others wait for an operator.
	maxStormFailures = 3
	// optedInShare is the part of the opted-in releases that makes a storm: 1 in so many.
	optedInShare = 100
)

// Storm is how many other releases have signals at the same time, and whether the rollback of
// a release that was in a storm may begin.
type Storm struct {
	// Others is how many got a signal within the policy's StormWindow; in a storm, also those
	// that got theirs before, in the same storm.
	Others int
	// Least is how many releases together make a storm; the policy's StormReleases if that is
	// more.
	Least int
	// Over is when the storm is over, if no more releases get a signal; zero without a storm.
	Over time.Time
	// Queue is about the rollbacks of the releases that were in a storm.
	Queue StormQueue
}

// StormQueue is how far the rollbacks of the releases of a storm are.
type StormQueue struct {
	// Unknown says that this process has just begun to lead, and has not read how far they are.
	Unknown bool
	// Behind is a release whose rollback comes first, or is in progress; the zero Key if it is
	// this one's turn.
	Behind Key
	// Waiting is how many other releases wait.
	Waiting int
	// Failed is how many rollbacks since the storm ended without recovery, or have not
	// recovered their release within the policy's VerifyLimit. Recovered says that one did.
	Failed    int
	Recovered bool
}

// Suspected is one release that counts for a storm.
type Suspected struct {
	// Since is when backout first received a signal that counts, Last when it last received
	// one, repeats included.
	Since, Last time.Time
	// Over says that the signals have ended.
	Over bool
}

// fires reports whether the release's signals fire, as far as Alertmanager says.
func (s Suspected) fires(p Policy, now time.Time) bool { return !s.Over && now.Sub(s.Last) < p.Repeat }

// StormAmong returns the storm that a release is in if it has a signal now, among the others,
// with so many opted-in releases.
//
// A storm begins when enough releases have got a signal within the policy's window, or still
// fire, or when more than that got one within an hour. It lasts until none has got one for a
// window: alerts that go on firing prolong it no further.
func StormAmong(others []Suspected, optedIn int, p Policy, now time.Time) Storm {
	storm := Storm{Least: max(p.StormReleases, (optedIn+optedInShare-1)/optedInShare)}
	times := []time.Time{now}
	firing := 1
	for _, s := range others {
		times = append(times, s.Since)
		if s.fires(p, now) {
			firing++
		}
		if now.Sub(s.Since) < p.StormWindow {
			storm.Others++
			storm.Over = Later(storm.Over, s.Since.Add(p.StormWindow))
		}
	}
	slices.SortFunc(times, time.Time.Compare)
	if storm.Over.IsZero() {
		return storm
	}
	begun := firing >= storm.Least
	run := 1 // how many got their signal one after the other, up to now, with no window between
	for i, at := range slices.Backward(times) {
		within := func(d time.Duration) int {
			return slices.IndexFunc(times, func(t time.Time) bool { return at.Sub(t) < d })
		}
		begun = begun || i-within(p.StormWindow)+1 >= storm.Least || i-within(slowStorm)+1 > storm.Least
		if i == 0 || at.Sub(times[i-1]) >= p.StormWindow {
			break
		}
		run++
	}
	if !begun {
		storm.Over = time.Time{}
		return storm
	}
	storm.Others = max(storm.Others, firing-1, run-1, storm.Least-1)
	return storm
}

// stormy reports whether so many releases have signals that no step may start. Steps
// that were started go on.
func (c Case) stormy() bool {
	return c.Storm.Others+1 >= c.stormLeast() && !c.record().Claimed()
}

// stormLeast is how many releases make a storm.
func (c Case) stormLeast() int { return max(c.Policy.StormReleases, c.Storm.Least) }

// duringStorm waits for the end of the storm.
func (c Case) duringStorm() Decision {
	return Decision{
		Verdict: Storming, RecheckAt: c.Storm.Over, Waits: true, NeedsHelp: true, Command: c.manualCommand(),
		Reason: fmt.Sprintf("alerts fired for %d releases within %s: look for a cause that they share, not for bad canaries", c.Storm.Others+1, c.Policy.StormWindow),
	}
}
