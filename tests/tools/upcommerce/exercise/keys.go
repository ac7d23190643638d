package exercise

import (
	"fmt"
	"maps"
	"math"
	"net/netip"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// key is a key of the exercise: the kind of its value, and how far the value of another
// run may differ.
type key struct {
	// name is "section.name".
	name string
	// unit is in the comment after the value; "" if it has none.
	unit string
	// kind is one of the constants below.
	kind string
	// near reports whether another run's value is within the tolerance; nil: it has to be
	// equal. tolerated describes the tolerance.
	near      func(one, other any) bool
	tolerated string
	// grows says that the value counts since the start of the pods.
	grows bool
}

// The kinds of values.
const (
	number  = "number"
	address = "address"
	words   = "words"
	lines   = "lines"
)

func (k key) section() string { section, _, _ := strings.Cut(k.name, "."); return section }
func (k key) last() string    { _, last, _ := strings.Cut(k.name, "."); return last }

// keys returns the keys of the exercise in its order, with their tolerances.
func keys() []key {
	anyAddress := func(k key) key {
		k.kind, k.near, k.tolerated = address, func(any, any) bool { return true }, "any address"
		return k
	}
	atLeast := func(least float64) func(any, any) bool {
		return func(one, other any) bool { return one.(float64) >= least && other.(float64) >= least }
	}
	within := func(part float64) func(any, any) bool {
		return func(one, other any) bool { return math.Abs(one.(float64)-other.(float64)) <= part*one.(float64) }
	}
	apart := func(most float64) func(any, any) bool {
		return func(one, other any) bool { return math.Abs(one.(float64)-other.(float64)) <= most }
	}
	pages := "responses"
	return []key{
		{name: "pods_status.main_pods_running", unit: "pods", kind: number},
		{name: "pods_status.canary_pods_running", unit: "pods", kind: number},
		anyAddress(key{name: "service_endpoints.main_service_cluster_ip", unit: "IPv4 address"}),
		anyAddress(key{name: "service_endpoints.canary_service_cluster_ip", unit: "IPv4 address"}),
		anyAddress(key{name: "ingress_details.address", unit: "IPv4 address"}),
		{name: "ingress_details.host", unit: "host name", kind: words},
		{name: "main_deployment_metrics.http_requests_total", unit: "requests", kind: number, near: within(.3), tolerated: "30%", grows: true},
		{name: "main_deployment_metrics.process_cpu_seconds_total", unit: "seconds", kind: number, near: atLeast(.001), tolerated: "above zero"},
		{name: "main_deployment_metrics.process_resident_memory_bytes", unit: "bytes", kind: number, near: within(.5), tolerated: "50%"},
		{name: "canary_deployment_metrics.http_requests_total", unit: "requests", kind: number, near: within(.3), tolerated: "30%", grows: true},
		{name: "canary_deployment_metrics.process_cpu_seconds_total", unit: "seconds", kind: number, near: atLeast(.001), tolerated: "above zero"},
		{name: "canary_deployment_metrics.process_resident_memory_bytes", unit: "bytes", kind: number, near: within(.5), tolerated: "50%"},
		{name: "traffic_test_results.total_requests_sent", unit: "requests", kind: number},
		{name: "traffic_test_results.main_responses_received", unit: pages, kind: number, near: apart(spread()), tolerated: "two fair splits of 80:20"},
		{name: "traffic_test_results.canary_responses_received", unit: pages, kind: number, near: apart(spread()), tolerated: "two fair splits of 80:20"},
		{name: "traffic_test_results.actual_canary_percentage", unit: "percent", kind: number, near: apart(100 * spread() / measured), tolerated: "two fair splits of 80:20"},
		{name: "prometheus_metrics.main_request_rate", unit: "requests per second", kind: number, near: within(.2), tolerated: "20%"},
		{name: "prometheus_metrics.canary_request_rate", unit: "requests per second", kind: number, near: within(.2), tolerated: "20%"},
		{name: "rollback_test.previous_revision", unit: "Helm revision", kind: number},
		{name: "rollback_test.rollback_command_used", kind: words},
		{name: "rollback_test.time_to_rollback_seconds", unit: "seconds", kind: number, near: apart(15), tolerated: "15 seconds"},
		{name: "error_budget.monthly_error_budget_seconds", unit: "seconds", kind: number},
		{name: "error_budget.remaining_error_budget_percentage", unit: "percent", kind: number, near: apart(1), tolerated: "1 percentage point"},
		{name: "observations.unexpected_behaviors", kind: lines, near: sameNumber, tolerated: "as many lines"},
		{name: "observations.suggested_improvements", kind: lines},
	}
}

// sameNumber is for observations that contain numbers of the run.
func sameNumber(one, other any) bool { return len(one.([]string)) == len(other.([]string)) }

// spread is the largest difference between the canary's counts in two fair splits, in
// 99.9% of all cases.
func spread() float64 {
	share := float64(percent) / 100
	return 3.29 * math.Sqrt(2*measured*share*(1-share))
}

// decode reads a value of the key's kind: a float64, a string or []string.
func (k key) decode(node *yaml.Node) (any, error) {
	switch k.kind {
	case number:
		var f float64
		if err := node.Decode(&f); err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
			return nil, fmt.Errorf("%q is not a number", node.Value)
		}
		return f, nil
	case lines:
		var all []string
		if err := node.Decode(&all); err != nil || len(all) == 0 {
			return nil, fmt.Errorf("want a list with at least one sentence")
		}
		return all, nil
	case address:
		if _, err := netip.ParseAddr(node.Value); err != nil {
			return nil, fmt.Errorf("%q is not an IP address", node.Value)
		}
	}
	if node.Value == "" {
		return nil, fmt.Errorf("it is empty")
	}
	return node.Value, nil
}

// After returns the values of a run with the usual window as they would be after another
// time of traffic.
func After(traffic time.Duration, values map[string]any) map[string]any {
	other := maps.Clone(values)
	for _, k := range keys() {
		if value, ok := values[k.name].(float64); ok && k.grows {
			other[k.name] = value * traffic.Seconds() / window.Seconds()
		}
	}
	return other
}

// Differences lists the values of another run that differ by more than the tolerance. Both
// arguments are results of Read.
func Differences(these, others map[string]any) []string {
	var all []string
	for _, k := range keys() {
		one, other := these[k.name], others[k.name]
		near := k.near
		if near == nil {
			near = func(one, other any) bool { return fmt.Sprint(one) == fmt.Sprint(other) }
		}
		if one == nil || other == nil || !near(one, other) {
			tolerated := k.tolerated
			if tolerated == "" {
				tolerated = "nothing"
			}
			all = append(all, fmt.Sprintf("%s: %v and %v; tolerated: %s", k.name, one, other, tolerated))
		}
	}
	return all
}
