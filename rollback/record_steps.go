package rollback

import "time"

// Steps returns the steps in their order; those that were not started are nil.
func (r *Record) Steps() []*Step {
	return []*Step{r.Preflight, r.Shed, r.Rollback, r.Restore, r.Verify}
}

// NextAttemptIn returns the time until the next attempt at the current step; 0 if it is due.
func (r *Record) NextAttemptIn(now time.Time) time.Duration {
	for _, s := range r.Steps() {
		if s != nil && !s.Finished() && now.Before(s.Next) {
			return s.Next.Sub(now)
		}
	}
	return 0
}

// ShedDue reports whether the weight is still to be set to zero. A shed that was given up
// is not due if the decision includes a rollback.
func (r *Record) ShedDue() bool {
	d := r.Decision()
	return d.Shed && r.Rollback == nil && !r.Shed.Succeeded() && !(d.Rollback && r.Shed.Finished())
}

// MoveOn closes a record about a revision that is no longer the newest. If it has left the
// weight at zero, it begins a hold instead, so that backout restores the weight for the new
// revision. It returns true: the record always has to be written.
func (r *Record) MoveOn(now time.Time) bool {
	r.Decide(Decision{Verdict: Stale, Reason: "the release has moved on to another revision", At: now})
	if r.LeftAtZero() {
		r.Hold = &Hold{Since: now}
		return true
	}
	if !r.Shed.Tried() {
		r.Shed = nil
	}
	if !r.Hold.Active() {
		r.Closed = now
	}
	return true
}

// AccountsForZero reports whether an open record says why its canary's weight is zero: it was
// or may have been set to zero, and a step or a hold of the record is to end that.
func (r *Record) AccountsForZero() bool {
	return r.Closed.IsZero() && (r.Claimed() || r.Hold.Active())
}

// HasLeftover reports whether there is a zero now that no record accounts for.
func (r *Record) HasLeftover() bool { return r.Leftover != nil && !r.Leftover.Finished() }

// HasStrayRoutes reports whether such a zero is on routes that carry the mark of a shed although
// the release is gone.
func (r *Record) HasStrayRoutes() bool { return r.HasLeftover() && len(r.StrayRoutes) > 0 }

// Claimed reports whether a step that changes the cluster was started.
func (r *Record) Claimed() bool { return r.Shed != nil || r.Rollback != nil }

// claimedAt returns when the first such step was started.
func (r *Record) claimedAt() time.Time {
	var first time.Time
	for _, s := range []*Step{r.Shed, r.Rollback} {
		if s != nil && (first.IsZero() || s.Started.Before(first)) {
			first = s.Started
		}
	}
	return first
}

// ShedFoundNothing reports whether the shed found no weight of a canary to set to zero.
func (r *Record) ShedFoundNothing() bool { return r.Shed.Succeeded() && len(r.Weights) == 0 }

// OwnShed reports whether backout itself has set the weight to zero for this record.
func (r *Record) OwnShed() bool { return r.Shed.Succeeded() && r.Shed.Operator == "" }

// LeftAtZero reports whether a weight was set to zero and nothing in the record ends that:
// neither a rollback, unless it failed, nor a hold. A hold that ended before the shed does not
// count. A shed of which one route failed has set the weights of the others.
func (r *Record) LeftAtZero() bool {
	if !r.Shed.Tried() || len(r.Weights) == 0 || r.Rollback != nil && !r.Rollback.Failed {
		return false
	}
	return r.Hold == nil || !r.Hold.Active() && r.Shed.Started.After(r.Hold.Ended)
}

// HoldsAfterFailure reports whether the weight is held because the rollback failed for good,
// or the restore after it did.
func (r *Record) HoldsAfterFailure() bool {
	failed := r.Rollback != nil && r.Rollback.Failed || r.Restore != nil && r.Restore.Failed
	return r.Hold.Active() && failed
}

// ShedUndone reports whether backout took the record's only shed back, because Prometheus
// does not confirm the alert: the record has a hold that no operator ended, and no shed.
func (r *Record) ShedUndone() bool {
	return r.Hold != nil && !r.Hold.Ended.IsZero() && !r.Hold.Lifted && r.Shed == nil
}

// RepeatVerdict returns the verdict about alerts that led to no new decision.
func (r *Record) RepeatVerdict() Verdict {
	if r.Claimed() {
		return Handled
	}
	return r.Decision().Verdict
}

// NothingToDo reports whether the record will never need a step or a query: no step was
// started, and its alerts are about another revision or backout acted on them there.
func (r *Record) NothingToDo() bool {
	unused := r.Shed == nil && r.Rollback == nil && r.Hold == nil && r.Preflight == nil
	return unused && (r.Decision().Verdict == Stale || r.Decision().Verdict == Handled)
}
