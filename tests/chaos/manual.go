package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"syscall"
	"time"
)

// commandKinds are those of a rollback that an operator does with the command.
func commandKinds() []Kind {
	return []Kind{
		{"the command killed before a write", true, commandKilledBefore},
		{"the command killed after a write", false, commandKilledAfter},
		{"the command killed twice", false, commandKilledTwice},
		{"the command interrupted at a write", false, commandStopped},
		{"the command and an alert at once", false, commandsAndAlerts},
	}
}

// answerDelay lets a signal arrive before the answer to a write.
const answerDelay = 300 * time.Millisecond

// fewCommanded is how many writes every run of the command has: a sample does not count them.
const fewCommanded = 8

// interruption is how a run of the command ends early, and what has to be true before the next one.
type interruption struct {
	fault func(*Command) error
	then  func(r *Run, ctx context.Context, l left) error
}

// killed kills the command at once: the write's answer never arrives.
func killed(c *Command) error {
	<-c.signal(syscall.SIGKILL)
	return errCut
}

// stopped presses Ctrl-C while the command waits for the answer.
func stopped(c *Command) error {
	c.signal(syscall.SIGINT)
	time.Sleep(answerDelay)
	return nil
}

// commandKilledBefore runs the command again soon: it waits until the dead one has been silent
// for a while.
func commandKilledBefore(c Clean, _ *rand.Rand) []Trial {
	return atCommandWrites(c, false, interruption{killed, (*Run).leavesItAlone})
}

// commandKilledAfter runs the command again only when the team is asked to.
func commandKilledAfter(c Clean, _ *rand.Rand) []Trial {
	return atCommandWrites(c, true, interruption{killed, (*Run).asksTheTeam})
}

func commandStopped(c Clean, _ *rand.Rand) []Trial {
	return atCommandWrites(c, true, interruption{stopped, (*Run).saysHowToGoOn})
}

// atCommandWrites has a trial for that side of every write of the command.
func atCommandWrites(c Clean, after bool, by interruption) []Trial {
	var trials []Trial
	for k := range c.Commanded {
		m := Moment{Write: k + 1, After: after}
		trials = append(trials, Trial{Name: m.String(), Order: func(ctx context.Context, r *Run) error {
			return r.interruptCommand(ctx, by, m)
		}})
	}
	return trials
}

// commandKilledTwice kills the command, and then the one that goes on.
func commandKilledTwice(c Clean, dice *rand.Rand) []Trial {
	moment := func() Moment { return Moment{Write: 1 + dice.IntN(c.Commanded), After: dice.IntN(2) == 0} }
	var trials []Trial
	for n := range 6 {
		first, second := moment(), moment()
		trials = append(trials, Trial{
			Name: fmt.Sprintf("%d, %s and %s of the next run", n+1, first, second),
			Order: func(ctx context.Context, r *Run) error {
				return r.interruptCommand(ctx, interruption{killed, nil}, first, second)
			},
		})
	}
	return trials
}

// commandsAndAlerts has an alert arrive before a write of the command, and the command begin
// before a write of backout's. One of the two rolls the release back.
func commandsAndAlerts(c Clean, _ *rand.Rand) []Trial {
	var trials []Trial
	for k := range fewCommanded {
		m := Moment{Write: k + 1}
		trials = append(trials, Trial{Name: "the alert " + m.String() + " of the command", Order: func(ctx context.Context, r *Run) error {
			r.command.breakNext(m, func(Write) error {
				r.happen()
				r.fail(r.fire(ctx))
				return nil
			})
			r.raceCommand(ctx)
			return nil
		}})
	}
	for k := range c.Writes {
		m := Moment{Write: k + 1}
		trials = append(trials, Trial{Name: "the command " + m.String() + " of backout", Order: func(ctx context.Context, r *Run) error {
			m.Write += len(r.proxy.Writes())
			r.BreakAt(m, func(Write) error {
				r.faults.Go(func() { r.raceCommand(ctx) })
				return nil
			})
			return r.fire(ctx)
		}})
	}
	return trials
}

// raceCommand runs the command, which may be refused: backout was faster.
func (r *Run) raceCommand(ctx context.Context) {
	_, err := r.command.run(ctx)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.commandDone = err == nil
}

// interruptCommand runs the command once for each moment, at which it ends early. After each it
// checks what is left behind. At last a run finishes.
func (r *Run) interruptCommand(ctx context.Context, by interruption, moments ...Moment) error {
	l := left{since: len(r.proxy.Writes())}
	for _, m := range moments {
		var ended atomic.Bool
		r.command.breakNext(m, func(Write) error {
			r.happen()
			ended.Store(true)
			return by.fault(r.command)
		})
		l.printed, l.err = r.command.run(ctx)
		if !ended.Load() {
			// A run has a write more or less than the clean one: this moment never came.
			r.finished(l.printed, l.err)
			return nil
		}
		var err error
		if l.Facts, err = r.observe(ctx); err != nil {
			return err
		}
		r.checkLeft(l)
		if by.then != nil {
			if err := by.then(r, ctx, l); err != nil {
				return err
			}
		}
	}
	return r.finishCommand(ctx)
}

// finishCommand runs the command, which has to finish.
func (r *Run) finishCommand(ctx context.Context) error {
	r.finished(r.command.run(ctx))
	return nil
}
