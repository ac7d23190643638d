package exercise

import (
	"testing"
	"time"
)

// After half of the time, half of the requests are counted; a rate is the same.
func TestCountersGrowWithTheTraffic(t *testing.T) {
	const counter, rate = "main_deployment_metrics.http_requests_total", "prometheus_metrics.main_request_rate"
	usual := map[string]any{counter: 9600.0, rate: 32.0}
	half := After(window/2, usual)
	if half[counter] != 4800.0 || half[rate] != 32.0 || usual[counter] != 9600.0 {
		t.Errorf("after %s: %v; want 4800 requests, 32 a second, and the argument unchanged: %v", window/2, half, usual)
	}
	if After(window, usual)[counter] != 9600.0 || After(2*time.Minute, usual)[counter] != 3840.0 {
		t.Error("the counter is not in proportion to the time")
	}
}
