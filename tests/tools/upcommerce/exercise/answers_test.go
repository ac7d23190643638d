package exercise_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/upcommerce/backout/tests/tools/upcommerce/exercise"
)

// committed returns the committed answers.
func committed(t *testing.T) map[string]any {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "..", "..", "answers.yml"))
	if err != nil {
		t.Fatalf("%v; `make upcommerce` writes them", err)
	}
	values, err := exercise.Read(text)
	if err != nil {
		t.Fatalf("answers.yml: %v; `make upcommerce` rewrites it", err)
	}
	return values
}

// The committed answers have every key of the exercise, each with its unit and its query
// or command, and agree with each other.
func TestTheCommittedAnswersAreComplete(t *testing.T) {
	a := committed(t)
	number := func(key string) float64 { return a[key].(float64) }
	total, main, canary := number("traffic_test_results.total_requests_sent"),
		number("traffic_test_results.main_responses_received"), number("traffic_test_results.canary_responses_received")
	if main+canary != total {
		t.Errorf("%v and %v responses, want %v in all, as many as requests", main, canary, total)
	}
	if share := number("traffic_test_results.actual_canary_percentage"); share != 100*canary/total {
		t.Errorf("the share is %v%%, want that of %v in %v", share, canary, total)
	}
	if number("pods_status.main_pods_running") != 3 || number("pods_status.canary_pods_running") != 1 {
		t.Error("the exercise has three stable pods and one canary")
	}
	if number("error_budget.monthly_error_budget_seconds") != 2592 {
		t.Error("0.1% of 30 days are 2592 seconds")
	}
}

// The table in docs/performance.md is that of answers.yml; UPDATE=1 rewrites it.
func TestThePerformancePageHasTheSeconds(t *testing.T) {
	const begin, end = "<!-- seconds -->", "<!-- /seconds -->"
	file := filepath.Join("..", "..", "..", "..", "docs", "performance.md")
	page, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(page), begin)
	table, after, closed := strings.Cut(rest, end)
	if !ok || !closed {
		t.Fatalf("docs/performance.md must have %s and %s around the table", begin, end)
	}
	want := "\n\n" + exercise.Markdown(seconds(t)) + "\n"
	if table == want {
		return
	}
	if os.Getenv("UPDATE") == "" {
		t.Fatalf("the table in docs/performance.md differs from answers.yml; UPDATE=1 rewrites it:\n%s", want)
	}
	if err := os.WriteFile(file, []byte(before+begin+want+end+after), 0o600); err != nil {
		t.Fatal(err)
	}
}

// docs/seconds.svg shows the seconds of answers.yml; UPDATE=1 redraws it.
func TestThePictureShowsTheSeconds(t *testing.T) {
	want, err := exercise.Picture(seconds(t))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join("..", "..", "..", "..", "docs", "seconds.svg")
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(file, want, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(file); err != nil || !bytes.Equal(got, want) {
		t.Errorf("docs/seconds.svg differs from answers.yml (%v); UPDATE=1 redraws it", err)
	}
}

// seconds returns the committed seconds of each kind of fault.
func seconds(t *testing.T) []exercise.Seconds {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "..", "..", "answers.yml"))
	if err != nil {
		t.Fatal(err)
	}
	faults, err := exercise.ReadFaults(text)
	if err != nil || len(faults) == 0 {
		t.Fatalf("answers.yml has no seconds by kind of fault: %v", err)
	}
	return faults
}

// A file that is not a complete answers file is refused, with the reason.
func TestInvalidAnswersAreRefused(t *testing.T) {
	whole, err := os.ReadFile(filepath.Join("..", "..", "..", "..", "answers.yml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, from, to, want string }{
		{"a missing key", "canary_pods_running:", "canaries:", "pods_status.canary_pods_running is missing"},
		{"an unknown key", "canary_pods_running:", "canaries:", "pods_status.canaries is not a key of the exercise"},
		{"a word instead of a number", "main_pods_running: 3", "main_pods_running: three", `"three" is not a number`},
		{"no unit", "main_pods_running: 3 # pods", "main_pods_running: 3", "does not name the unit, pods"},
		{"an invalid address", "main_service_cluster_ip: 10", "main_service_cluster_ip: ten", "is not an IP address"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			text := bytes.Replace(whole, []byte(tt.from), []byte(tt.to), 1)
			if bytes.Equal(text, whole) {
				t.Fatalf("answers.yml has no %q", tt.from)
			}
			if _, err := exercise.Read(text); err == nil || !bytes.Contains([]byte(err.Error()), []byte(tt.want)) {
				t.Errorf("error %v, want one that contains %q", err, tt.want)
			}
		})
	}
}
