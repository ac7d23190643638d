package report

import "github.com/upcommerce/backout/rollback"

// Patience is how many attempts of a step fail before backout asks for help.
const Patience = 5

// stepPreflight names the preflight among the steps, and stepNone an obstacle outside of
// them.
const (
	stepPreflight = "preflight"
	stepNone      = "obstacle"
)

// namedStep is a step with its name.
type namedStep struct {
	name string
	*rollback.Step
}

// stuckStep returns the step that an open record is stuck on, and whether it is stuck: on
// an error outside of the steps, on a step that is retried after Patience failures, or on a
// shed that was given up, so that the canary gets traffic until the rollback is done.
func stuckStep(r *rollback.Record) (namedStep, bool) {
	rollbackDue := r.Decision().Rollback || r.Rollback != nil
	shedDue := (r.Decision().Shed || r.Rollback != nil) && !r.Rollback.Finished()
	switch {
	case !r.Closed.IsZero():
	case obstructed(r):
		return namedStep{stepNone, r.Obstacle}, true
	case keepsFailing(r.Rollback):
		return namedStep{rollback.StepRollback, r.Rollback}, true
	case keepsFailing(r.Restore):
		return namedStep{rollback.StepRestore, r.Restore}, true
	case keepsFailing(r.Preflight) && rollbackDue && r.Rollback == nil:
		return namedStep{stepPreflight, r.Preflight}, true
	case shedFails(r) && shedDue:
		return namedStep{rollback.StepShed, r.Shed}, true
	}
	return namedStep{}, false
}

// obstructed reports whether an error outside of the steps keeps backout from going on.
func obstructed(r *rollback.Record) bool { return r.Obstacle != nil && !r.Obstacle.Finished() }

// keepsFailing reports whether s is retried after Patience failures.
func keepsFailing(s *rollback.Step) bool {
	return s != nil && !s.Finished() && s.Attempts >= Patience
}

// shedFails reports whether the shed was given up, or keeps failing.
func shedFails(r *rollback.Record) bool {
	return r.Shed != nil && r.Shed.Failed || keepsFailing(r.Shed)
}
