package rollback

import "time"

// OverloadedError says that the API server did not take a request on: it has too much to do, or
// does not answer. It is no reason to give a step up: the same request may succeed later.
type OverloadedError struct {
	// RetryAfter is how long the API server asks to wait; 0 if it does not say.
	RetryAfter time.Duration
	// Err is the error of the call.
	Err error
}

// Error returns that of the call.
func (e *OverloadedError) Error() string { return e.Err.Error() }

// Unwrap returns the error of the call.
func (e *OverloadedError) Unwrap() error { return e.Err }
