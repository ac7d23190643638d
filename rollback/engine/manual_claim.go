package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/upcommerce/backout/rollback"
)

// claim writes into the record of the suspect that the operator rolls it back, and that the
// weight is to be zero meanwhile. backout writes its own claim into the same record, so that
// only one of the two can have it.
func (r *manualRun) claim(ctx context.Context) error {
	_, err := saveChanged(ctx, r.Ledger, func() (rollback.Record, bool, error) {
		records, err := r.notRollingBack(ctx, r.Key, "roll back")
		if err != nil {
			return rollback.Record{}, false, err
		}
		now := time.Now().UTC()
		own, known := rollback.FindRecord(records, r.suspect)
		if !known {
			own = rollback.NewRecord(r.Key, r.suspect, records, now)
		}
		if r.inProgress(own.Manual) {
			return own, false, errLostClaim
		}
		own.Manual = &rollback.ManualRollback{
			Operator: rollback.Clip(r.Operator, rollback.MaxName), ID: r.id, Target: r.target, Allow: r.Allow,
			Started: now, Progress: now, Made: r.made,
		}
		own.Closed = time.Time{}
		// An earlier shed whose hold has ended says nothing about the weight.
		r.zero = own.Shed.Succeeded() && (own.Hold.Active() || own.LeftAtZero())
		if r.held && !own.Hold.Active() {
			own.Hold = &rollback.Hold{Since: now}
		}
		if r.held && !r.zero {
			own.Shed, own.Weights = r.ordered(now), nil
		}
		if len(own.Decisions) == 0 {
			own.Decide(rollback.OrderedHold(r.Key, r.Operator, now))
		}
		r.held = own.Hold.Active()
		return own, true, nil
	})
	return err
}

// note changes the record, and reports progress in it, as long as the claim is this run's.
func (r *manualRun) note(ctx context.Context, change func(*rollback.Record)) error {
	_, err := saveChanged(ctx, r.Ledger, func() (rollback.Record, bool, error) {
		stored, err := r.own(ctx)
		if err != nil {
			return stored, false, err
		}
		mine := *stored.Manual
		mine.Progress, mine.Quiet, mine.Stalled = time.Now().UTC(), time.Time{}, time.Time{}
		stored.Manual = &mine
		change(&stored)
		return stored, true, nil
	})
	return err
}

// own returns the stored record if its claim is this run's, else errLostClaim.
func (r *manualRun) own(ctx context.Context) (rollback.Record, error) {
	stored, ok, err := r.Ledger.Record(ctx, r.Key, r.suspect.Number)
	if err == nil && (!ok || stored.UID != r.suspect.UID || !stored.Manual.Active() || stored.Manual.ID != r.id) {
		err = errLostClaim
	}
	return stored, err
}

// inProgress reports whether another run of the command works on it: it has to be seen without
// a report for a while before it counts as dead.
func (r *manualRun) inProgress(m *rollback.ManualRollback) bool {
	return m.Active() && m.ID != "" && r.other.silent(*m) <= manualAlive
}

// finishedBefore reports whether an earlier run has finished the order: the newest revision is what
// that made. An operator whose command was killed at its very end runs it again: without this, that
// would go back one revision further.
func (r *manualRun) finishedBefore(newest rollback.Revision, records []rollback.Record) bool {
	i := slices.IndexFunc(records, func(own rollback.Record) bool {
		m := own.Manual
		return m != nil && !m.Active() && m.Made == newest.Number && newest.Claim == own.UID && newest.Status == rollback.StatusDeployed
	})
	if i < 0 || r.To != 0 && r.To != records[i].Manual.Target {
		return false
	}
	r.target = records[i].Manual.Target
	return true
}

// abandon ends a claim that has changed nothing, with its hold and its order. The shed that it has
// announced stays: backout finds out whether it was done.
func abandon(r *rollback.Record, why string) {
	ended := *r.Manual
	ordered := func(d rollback.Decision) bool { return d.Operator != "" && d.At.Equal(ended.Started) }
	r.Decisions = slices.DeleteFunc(slices.Clone(r.Decisions), ordered)
	ended.Ended, ended.Note = time.Now().UTC(), why
	r.Manual = &ended
	if r.Shed != nil && !r.Shed.Begun() && r.Hold.Active() {
		r.Hold = nil
	}
}

// progressReport is the last report of progress that was seen in a claim, and since when. The clock is
// that of this process alone: those of operators' machines may be wrong.
type progressReport struct {
	id              string
	progress, since time.Time
}

// silent returns for how long the claim has had no other report of progress.
func (l *progressReport) silent(m rollback.ManualRollback) time.Duration {
	if l.since.IsZero() || l.id != m.ID || !l.progress.Equal(m.Progress) {
		*l = progressReport{m.ID, m.Progress, time.Now()}
	}
	return time.Since(l.since)
}

// notClaimed returns the release's history, with an error if an operator's command works on a
// rollback of it. A command that was killed counts as working until it has not reported for a
// while.
func (m Manual) notClaimed(ctx context.Context, k rollback.Key, order string) (rollback.History, error) {
	for seen := (progressReport{}); ; {
		history, err := m.Releases.History(ctx, k, rollback.Stored)
		if err != nil {
			return nil, err
		}
		records, err := m.Ledger.Records(ctx, k, rollback.Stored)
		if err != nil {
			return nil, err
		}
		r, claimed := rollback.ManualClaim(history, records)
		if !claimed || r.Manual.ID == "" || !r.Manual.Stalled.IsZero() {
			return history, nil
		}
		known := seen.since
		switch silence := seen.silent(*r.Manual); {
		case silence > manualAlive:
			return history, nil
		case !known.IsZero() && !known.Equal(seen.since):
			return nil, fmt.Errorf("%s %s: %s rolls it back with backout rollback; wait until that command ends, or look with: %s", order, k, rollback.Printable(r.Manual.Operator), r.ShowCommand())
		}
		if err := pauseFor(ctx, recheckInterval); err != nil {
			return nil, err
		}
	}
}

// errLostClaim says that another run of the command goes on with the rollback.
var errLostClaim = errors.New("another run of the command has taken it over, or the claim in the record is gone")
