package main

import (
	"errors"
	"fmt"
	"time"
)

const (
	// maxDelay bounds latency and jitter together. It is below finishTimeout, so that a drain ends in time.
	maxDelay = finishTimeout - time.Second
	// maxCrashAfter bounds how long a crash can lie ahead.
	maxCrashAfter = 24 * time.Hour
)

// Faults are defects that the storefront has on purpose, so that a canary can be bad. The zero value is a storefront without
// any. Only Silent touches /metrics, only NeverReady touches /readyz, and nothing touches /healthz. JSON and environment have
// the same fields.
type Faults struct {
	// ErrorShare of the pages, 0 to 1, to a millionth, is answered 500.
	ErrorShare float64 `env:"FAULT_ERROR_SHARE" json:"errorShare"`
	// Latency is added to each page, to those that fail too. With LatencyJitter it is 9s at most.
	Latency Duration `env:"FAULT_LATENCY, default=0s" json:"latency"`
	// LatencyJitter is the most that a page takes in addition; pages spread evenly below it.
	LatencyJitter Duration `env:"FAULT_LATENCY_JITTER, default=0s" json:"latencyJitter"`
	// CrashAfter ends the process without a drain, so long after it started or was told so. 0 is never.
	CrashAfter Duration `env:"FAULT_CRASH_AFTER, default=0s" json:"crashAfter"`
	// NeverReady makes /readyz answer 503.
	NeverReady bool `env:"FAULT_NEVER_READY" json:"neverReady"`
	// Silent accepts requests for pages and metrics and never answers them, as a process does that is stuck behind health
	// endpoints which know nothing of it.
	Silent bool `env:"FAULT_SILENT" json:"silent"`
}

// Validate returns every reason why f cannot be put into effect, joined, each by the names that environment and JSON have for
// the field, or nil.
func (f Faults) Validate() error {
	var errs []error
	if !(f.ErrorShare >= 0 && f.ErrorShare <= 1) { // not so for NaN either
		errs = append(errs, fmt.Errorf("FAULT_ERROR_SHARE (errorShare) %v is not a share: use 0 to 1, as in 0.5", f.ErrorShare))
	}
	latency, jitter, crash := time.Duration(f.Latency), time.Duration(f.LatencyJitter), time.Duration(f.CrashAfter)
	if latency < 0 || latency > maxDelay {
		errs = append(errs, fmt.Errorf("FAULT_LATENCY (latency) %s is out of bounds: use 0s to %s", latency, maxDelay))
	}
	if jitter < 0 || jitter > maxDelay-min(max(latency, 0), maxDelay) {
		errs = append(errs, fmt.Errorf("FAULT_LATENCY_JITTER (latencyJitter) %s is out of bounds: use 0s to %s, less the latency", jitter, maxDelay))
	}
	if crash < 0 || crash > maxCrashAfter {
		errs = append(errs, fmt.Errorf("FAULT_CRASH_AFTER (crashAfter) %s is out of bounds: use 1s to %s, or 0s for never", crash, maxCrashAfter))
	}
	return errors.Join(errs...)
}

// Duration is a time.Duration that JSON spells as the environment does, as in "250ms".
type Duration time.Duration

// MarshalText never fails.
//
//nolint:unparam // encoding.TextMarshaler has the error.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText reads what time.ParseDuration reads.
func (d *Duration) UnmarshalText(text []byte) error {
	parsed, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("%q is no duration: use a number with its unit, as in 250ms or 30s", text)
	}
	*d = Duration(parsed)
	return nil
}
