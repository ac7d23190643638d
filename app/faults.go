package main

import (
	"errors"
	"fmt"
	"time"
)

const (
	// maxDelay bounds latency and jitter together. It is below finishTimeout, so that a drain ends in time.
	maxDelay = finishTimeout - time.Second
	// maxCrashAfter bounds CrashAfter.
	maxCrashAfter = 24 * time.Hour
	// maxLatencyFor bounds LatencyFor.
	maxLatencyFor = 24 * time.Hour
)

// Faults are deliberate defects, which make a canary bad. The zero value is a storefront without faults. Only Silent affects
// /metrics, only NeverReady affects /readyz, and none affects /healthz. JSON and environment have the same fields.
type Faults struct {
	// ErrorShare is the share of pages answered with 500, from 0 to 1, precise to a millionth.
	ErrorShare float64 `env:"FAULT_ERROR_SHARE" json:"errorShare"`
	// Latency is added to each page, including those that fail. Together with LatencyJitter it is at most 9s.
	Latency Duration `env:"FAULT_LATENCY, default=0s" json:"latency"`
	// LatencyJitter is the upper bound of a further delay; the delays of pages spread evenly below it.
	LatencyJitter Duration `env:"FAULT_LATENCY_JITTER, default=0s" json:"latencyJitter"`
	// LatencyFor ends Latency, but not LatencyJitter, this long after the start or the PUT, like a process that is cold at first.
	// 0 means never.
	LatencyFor Duration `env:"FAULT_LATENCY_FOR, default=0s" json:"latencyFor"`
	// CrashAfter ends the process without a drain, this long after the start or the PUT. 0 means never.
	CrashAfter Duration `env:"FAULT_CRASH_AFTER, default=0s" json:"crashAfter"`
	// NeverReady makes /readyz answer 503.
	NeverReady bool `env:"FAULT_NEVER_READY" json:"neverReady"`
	// Silent accepts requests for pages and metrics and never answers them, like a process that is stuck while its health
	// endpoints still answer.
	Silent bool `env:"FAULT_SILENT" json:"silent"`
}

// Validate returns every reason why f cannot be put into effect, joined, each with the names of the field in environment and
// JSON, or nil.
func (f Faults) Validate() error {
	var errs []error
	if !(f.ErrorShare >= 0 && f.ErrorShare <= 1) { // also false for NaN
		errs = append(errs, fmt.Errorf("FAULT_ERROR_SHARE (errorShare) %v is not a share: use 0 to 1, as in 0.5", f.ErrorShare))
	}
	latency, jitter := time.Duration(f.Latency), time.Duration(f.LatencyJitter)
	cold, crash := time.Duration(f.LatencyFor), time.Duration(f.CrashAfter)
	if latency < 0 || latency > maxDelay {
		errs = append(errs, fmt.Errorf("FAULT_LATENCY (latency) %s is out of bounds: use 0s to %s", latency, maxDelay))
	}
	if jitter < 0 || jitter > maxDelay-min(max(latency, 0), maxDelay) {
		errs = append(errs, fmt.Errorf("FAULT_LATENCY_JITTER (latencyJitter) %s is out of bounds: use 0s to %s, less the latency", jitter, maxDelay))
	}
	if cold < 0 || cold > maxLatencyFor {
		errs = append(errs, fmt.Errorf("FAULT_LATENCY_FOR (latencyFor) %s is out of bounds: use 1s to %s, or 0s for good", cold, maxLatencyFor))
	}
	if crash < 0 || crash > maxCrashAfter {
		errs = append(errs, fmt.Errorf("FAULT_CRASH_AFTER (crashAfter) %s is out of bounds: use 1s to %s, or 0s for never", crash, maxCrashAfter))
	}
	return errors.Join(errs...)
}

// Duration is a time.Duration with the same spelling in JSON as in the environment, as in "250ms".
type Duration time.Duration

// MarshalText never fails.
//
//nolint:unparam // encoding.TextMarshaler has the error.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText accepts the format of time.ParseDuration.
func (d *Duration) UnmarshalText(text []byte) error {
	parsed, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("%q is not a duration: use a number with its unit, as in 250ms or 30s", text)
	}
	*d = Duration(parsed)
	return nil
}
