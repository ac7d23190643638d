package rollback

import "time"

// Step is one action on the cluster. A step that was started is a claim: backout finishes
// it whatever later alerts say.
type Step struct {
	// Operator is the one who took the step with a command of backout; "" for backout itself.
	Operator string    `json:"operator,omitempty"`
	Started  time.Time `json:"started"`
	Done     time.Time `json:"done,omitzero"`
	Attempts int       `json:"attempts,omitempty"`
	// Error is that of the last attempt; "" after success.
	Error string `json:"error,omitempty"`
	// Failed says that backout gave the step up: an operator has to look.
	Failed bool `json:"failed,omitempty"`
	// Next is when the next attempt is due after a failed one.
	Next time.Time `json:"next,omitzero"`
	// Note is what an operator should know about a finished step.
	Note string `json:"note,omitempty"`
}

// Finished reports whether s was done or given up; a nil step was never started.
func (s *Step) Finished() bool { return s != nil && (!s.Done.IsZero() || s.Failed) }

// Tried reports whether the record knows of an attempt at s.
func (s *Step) Tried() bool { return s != nil && (s.Attempts > 0 || s.Finished()) }

// Begun reports whether backout has claimed s, or an operator's command has taken it. One that
// a command has only announced is not begun.
func (s *Step) Begun() bool { return s != nil && (s.Operator == "" || s.Finished()) }

// Succeeded reports whether s was done.
func (s *Step) Succeeded() bool { return s != nil && !s.Done.IsZero() && !s.Failed }

// Finish stores the result of an attempt. After limit failed attempts the step has failed;
// before, Next is when the next one is due.
func (s *Step) Finish(now time.Time, err error, limit int) {
	s.Attempts++
	s.Next = time.Time{}
	if err == nil {
		s.Done, s.Error, s.Failed = now, "", false // also one that was given up before, and became due again
		return
	}
	s.Error = Clip(err.Error(), 1000)
	if s.Failed = s.Attempts >= limit; !s.Failed {
		s.Next = now.Add(min(firstRetryWait<<min(s.Attempts, 10), MaxRetryWait))
	}
}

// Postpone stores the error of an attempt that does not count; the next one is due MaxRetryWait
// later.
func (s *Step) Postpone(now time.Time, err error) {
	s.Error, s.Next = Clip(err.Error(), 1000), now.Add(MaxRetryWait)
}

// Wait returns the time until the next attempt, at least a millisecond; 0 if no attempt is due.
func (s *Step) Wait(now time.Time) time.Duration {
	if s == nil || s.Finished() || s.Next.IsZero() {
		return 0
	}
	return max(s.Next.Sub(now), time.Millisecond)
}

// The names of steps in metrics, logs and reports.
const (
	StepShed     = "shed"
	StepRollback = "rollback"
	StepRestore  = "restore"
	StepVerify   = "verify"
)

// The wait after a failed attempt: firstRetryWait doubles with each one, up to MaxRetryWait.
const (
	firstRetryWait = 100 * time.Millisecond
	MaxRetryWait   = 30 * time.Second
)
