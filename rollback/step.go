package rollback

import "time"

// Step is one action on the cluster. A step that was started is a claim: it is
// finished whatever later alerts say.
type Step struct {
	Started  time.Time `json:"started"`
	Done     time.Time `json:"done,omitzero"`
	Attempts int       `json:"attempts,omitempty"`
	// Error is the last attempt's; "" after success.
	Error string `json:"error,omitempty"`
	// Failed says that no further attempt is made: a person has to look.
	Failed bool `json:"failed,omitempty"`
	// Next is when the next attempt is due, after one that failed.
	Next time.Time `json:"next,omitzero"`
	// Note is what a person would want to know about a step that was done.
	Note string `json:"note,omitempty"`
}

// Finished reports whether s needs no further attempt; a nil step was never
// started.
func (s *Step) Finished() bool { return s != nil && (!s.Done.IsZero() || s.Failed) }

// tried reports whether s was attempted, as far as the record knows.
func (s *Step) tried() bool { return s != nil && (s.Attempts > 0 || s.Finished()) }

// Succeeded reports whether s was done without failing.
func (s *Step) Succeeded() bool { return s != nil && !s.Done.IsZero() && !s.Failed }

// steps returns the steps in their order; those that were not begun are nil.
func (r *Record) steps() []*Step {
	return []*Step{r.Check, r.Shed, r.Rollback, r.Raise, r.Verify}
}
