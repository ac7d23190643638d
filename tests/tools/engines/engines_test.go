package engines

import (
	"bytes"
	"io"
	"testing"
	"time"
)

func TestAgree(t *testing.T) {
	s := Sample{Canaries: []string{"healthy", "bad"}, Fired: Fired{"CanaryLatency": {"1": 15_000}}}
	for _, tt := range []struct {
		name  string
		fired Fired
		line  string
		agree bool
	}{
		{"the same", Fired{"CanaryLatency": {"1": 15_000}}, "| r | f | 1 of 1 | 0 | 0 | 0 | 5 to 5 |\n", true},
		{"later", Fired{"CanaryLatency": {"1": 30_000}}, "| r | f | 0 of 1 | 1 | 0 | 0 | 5 to 5 |\n", false},
		{"never", Fired{}, "| r | f | 0 of 1 | 0 | 1 | 0 | 0 |\n", false},
		{"a healthy canary", Fired{"CanaryLatency": {"1": 15_000, "0": 15_000}}, "| r | f | 1 of 1 | 0 | 0 | 1 | 5 to 5 |\n", false},
	} {
		var out bytes.Buffer
		agree := s.Agree(Outcome{Ruler: "r", Rules: "f", Fired: tt.fired, Late: map[string]time.Duration{"CanaryLatency": 5 * time.Second}}, &out, io.Discard)
		if agree != tt.agree || out.String() != tt.line {
			t.Errorf("%s: agrees: %t, want %t; %swant %s", tt.name, agree, tt.agree, out.String(), tt.line)
		}
	}
}

func TestOnlyTheFirstTimeCounts(t *testing.T) {
	f := Fired{}
	for _, at := range []int64{30, 15, 45} {
		f.Add("CanaryLatency", "1", at)
	}
	if got := f["CanaryLatency"]["1"]; got != 15 {
		t.Errorf("it fires first at %d, want 15", got)
	}
}
