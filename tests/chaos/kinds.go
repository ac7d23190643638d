package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/upcommerce/backout/tests/env/stage"
)

// nothing is the row of the trials in which nothing breaks.
const nothing = "nothing"

// Kind is one row of the table: a way in which things break.
type Kind struct {
	Name string
	// Sampled says that a sample has a trial of it.
	Sampled bool
	// Trials makes them from the facts of a clean run and the seeded dice.
	Trials func(c Clean, dice *rand.Rand) []Trial
}

// Clean has the facts of a run without a fault.
type Clean struct {
	// Writes is how many there were, Took the time from the alert to the closed
	// record.
	Writes int
	Took   time.Duration
	// Commanded is how many writes an operator's command has.
	Commanded int
}

// Kinds are all of them.
func Kinds() []Kind {
	return append([]Kind{
		{"killed before a write", true, killedBefore},
		{"killed after a write", true, killedAfter},
		{"killed twice at random", true, killedAtRandom},
		{"killed again and again", false, killedOften},
		{"the answer to a write lost", true, answersLost},
		{"a write refused", false, refused},
		{"the leader frozen for 30 s", true, frozen},
		{"the API server gone for 30 s", true, gone},
		{"the leader of two killed", true, leaderOfTwo},
		{"the leader of three killed", false, leaderOfThree},
		{"conflicts on the route", true, conflicts},
		{"an operator upgrades meanwhile", true, upgrades},
		{"an Alertmanager pair", true, pair},
		{"1,000 alerts in one webhook", false, floods},
		{"a target without ready pods", false, unready},
		{"a clock off by a minute", false, clocks},
	}, commandKinds()...)
}

// outage is how long a process stays frozen and an API server stays away.
const outage = 30 * time.Second

// killedBefore restarts the container, which leads at once.
func killedBefore(c Clean, _ *rand.Rand) []Trial { return atWrites(c, false, kill) }

// killedAfter replaces the pod: the alert may be resolved before the new one
// leads.
func killedAfter(c Clean, _ *rand.Rand) []Trial {
	trials := atWrites(c, true, kill)
	for i := range trials {
		trials[i].Replaced = true
	}
	return trials
}

func answersLost(c Clean, _ *rand.Rand) []Trial {
	return atWrites(c, true, func(*Run, Write) error { return errCut })
}

func refused(c Clean, _ *rand.Rand) []Trial {
	return atWrites(c, false, func(*Run, Write) error { return errRefused })
}

func kill(r *Run, w Write) error {
	r.replicas[w.Replica].Kill()
	return errCut
}

// atWrites has a trial for that side of every write of a clean run.
func atWrites(c Clean, after bool, f func(*Run, Write) error) []Trial {
	var trials []Trial
	for k := range c.Writes {
		m := Moment{Write: k + 1, After: after}
		trials = append(trials, Trial{Name: m.String(), Fault: func(_ context.Context, r *Run) error {
			r.BreakAt(m, func(w Write) error { return f(r, w) })
			return nil
		}})
	}
	return trials
}

// Share is an instant within a clean run, in thousandths of it: it is the same
// on a slow machine and on a fast one.
type Share int

// String returns, for example, "0.250 of a clean run".
func (s Share) String() string { return fmt.Sprintf("%d.%03d of a clean run", s/1000, s%1000) }

// of returns the instant as the time since the alert.
func (s Share) of(c Clean) time.Duration { return time.Duration(s) * c.Took / 1000 }

func share(dice *rand.Rand) Share { return Share(dice.IntN(1000)) }

// killedAtRandom kills 100 times in all. Every other time the pod is replaced, and
// the new one waits until the dead one's Lease has expired.
func killedAtRandom(c Clean, dice *rand.Rand) []Trial {
	var trials []Trial
	for n := range 50 {
		first := share(dice)
		second := first + share(dice)
		trials = append(trials, Trial{
			Name: fmt.Sprintf("%d, at %s and at %s", n+1, first, second), Replaced: n%2 == 1,
			Fault: func(ctx context.Context, r *Run) error {
				for _, at := range []Share{first, second} {
					r.After(ctx, at.of(c), func(context.Context) error { r.leads().Kill(); return nil })
				}
				return nil
			},
		})
	}
	return trials
}

// killedOften kills at every third write, so that the replica that takes over is
// killed too. After five interrupted rollbacks backout gives up.
func killedOften(Clean, *rand.Rand) []Trial {
	var trials []Trial
	for _, c := range []struct {
		first, times int
		end          End
	}{{1, 5, RolledBack}, {2, 5, RolledBack}, {3, 5, RolledBack}, {3, 10, GivenUp}} {
		trials = append(trials, Trial{
			Name: fmt.Sprintf("%d times, from write %d on", c.times, c.first), End: c.end,
			Fault: func(_ context.Context, r *Run) error {
				for n := range c.times {
					r.BreakAt(Moment{Write: c.first + 3*n, After: n%2 == 0}, func(w Write) error { return kill(r, w) })
				}
				return nil
			},
		})
	}
	return trials
}

// atShares has a trial with so many replicas for each of n instants.
func atShares(n int, c Clean, dice *rand.Rand, t Trial, f func(context.Context, *Run) error) []Trial {
	trials := make([]Trial, n)
	for i := range trials {
		at := share(dice)
		trials[i] = t
		trials[i].Name = fmt.Sprintf("at %s", at)
		trials[i].Fault = func(ctx context.Context, r *Run) error {
			r.After(ctx, at.of(c), func(ctx context.Context) error { return f(ctx, r) })
			return nil
		}
	}
	return trials
}

// frozen freezes the leader at an instant, and in the middle of a write. The
// other replica goes on; the frozen one wakes up with a stale view.
func frozen(c Clean, dice *rand.Rand) []Trial {
	trials := atShares(3, c, dice, Trial{Replicas: 2}, func(ctx context.Context, r *Run) error {
		leader := r.leads()
		leader.Freeze()
		defer leader.Thaw()
		sleep(ctx, outage)
		return nil
	})
	for range 3 {
		m := Moment{Write: 1 + dice.IntN(c.Writes), After: dice.IntN(2) == 0}
		trials = append(trials, Trial{Name: m.String(), Replicas: 2, Fault: func(ctx context.Context, r *Run) error {
			r.BreakAt(m, func(w Write) error {
				replica := r.replicas[w.Replica]
				replica.Freeze()
				r.faults.Go(func() { sleep(ctx, outage); replica.Thaw() })
				return nil
			})
			return nil
		}})
	}
	return trials
}

// gone takes the API server away from all replicas.
func gone(c Clean, dice *rand.Rand) []Trial {
	away := func(ctx context.Context, r *Run) error {
		for _, l := range r.links {
			l.Cut()
		}
		sleep(ctx, outage)
		for _, l := range r.links {
			if err := l.Open(ctx); err != nil {
				return err
			}
		}
		return nil
	}
	trials := atShares(2, c, dice, Trial{Replicas: 2}, away)
	for range 3 {
		m := Moment{Write: 1 + dice.IntN(c.Writes), After: dice.IntN(2) == 0}
		trials = append(trials, Trial{Name: m.String(), Fault: func(ctx context.Context, r *Run) error {
			r.BreakAt(m, func(Write) error {
				r.faults.Go(func() { r.fail(away(ctx, r)) })
				return errCut
			})
			return nil
		}})
	}
	return trials
}

// leaderOfTwo kills the replica that writes, mostly the leader, so that the other
// one goes on from there; and the leader, whatever it does.
func leaderOfTwo(c Clean, dice *rand.Rand) []Trial {
	trials := atShares(4, c, dice, Trial{Replicas: 2, Replaced: true}, killLeader)
	for k, trial := range atWrites(c, true, kill) {
		if k%2 == 0 {
			trial.Replicas, trial.Replaced = 2, true
			trials = append(trials, trial)
		}
	}
	return trials
}

func leaderOfThree(c Clean, dice *rand.Rand) []Trial {
	return atShares(4, c, dice, Trial{Replicas: 3, Replaced: true}, killLeader)
}

func killLeader(_ context.Context, r *Run) error {
	r.leads().Kill()
	return nil
}

// conflicts has another client write the route every few milliseconds, for two
// seconds from the alert on and from two later moments.
func conflicts(Clean, *rand.Rand) []Trial {
	var trials []Trial
	for _, c := range []struct{ name, from string }{
		{"from the alert on", ""}, {"while Helm writes", "revision 3 pending-rollback"}, {"before the weight is restored", "revision 3 deployed"},
	} {
		trials = append(trials, Trial{Name: c.name, Fault: func(ctx context.Context, r *Run) error {
			r.After(ctx, 0, func(ctx context.Context) error {
				if c.from != "" {
					if err := r.watcher.await(ctx, func(s Commit) bool { return s.What == c.from }); err != nil {
						return err
					}
				}
				return r.touch(ctx, stage.CanaryIngress, 2*time.Second)
			})
			return nil
		}})
	}
	return trials
}
