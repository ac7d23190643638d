package upcommerce_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/upcommerce/backout/tests/progress"
	"github.com/upcommerce/backout/tests/stage"
	"github.com/upcommerce/backout/tests/upcommerce"
)

// committed are the answers that the repository has.
func committed(t *testing.T) map[string]any {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "answers.yml"))
	if err != nil {
		t.Fatalf("%v; `make upcommerce` writes them", err)
	}
	values, err := upcommerce.Read(text)
	if err != nil {
		t.Fatalf("answers.yml: %v; `make upcommerce` writes it anew", err)
	}
	return values
}

// The answers in the repository have every key of the exercise, with its unit and with
// what gives it, and agree with each other.
func TestTheCommittedAnswersAreWhole(t *testing.T) {
	a := committed(t)
	number := func(key string) float64 { return a[key].(float64) }
	total, main, canary := number("traffic_test_results.total_requests_sent"),
		number("traffic_test_results.main_responses_received"), number("traffic_test_results.canary_responses_received")
	if main+canary != total {
		t.Errorf("%v and %v responses are not the %v requests that were sent", main, canary, total)
	}
	if share := number("traffic_test_results.actual_canary_percentage"); share != 100*canary/total {
		t.Errorf("%v of %v are not %v%%", canary, total, share)
	}
	if number("pods_status.main_pods_running") != 3 || number("pods_status.canary_pods_running") != 1 {
		t.Error("the exercise has three stable pods and one canary")
	}
	if number("error_budget.monthly_error_budget_seconds") != 2592 {
		t.Error("0.1% of 30 days are 2592 seconds")
	}
}

// The README's table is that of answers.yml; UPDATE=1 rewrites it.
func TestTheReadmeHasTheSeconds(t *testing.T) {
	const begin, end = "<!-- seconds -->", "<!-- /seconds -->"
	file := filepath.Join("..", "..", "README.md")
	readme, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(readme), begin)
	table, after, closed := strings.Cut(rest, end)
	if !ok || !closed {
		t.Fatalf("README.md has its seconds between %s and %s", begin, end)
	}
	want := "\n\n" + upcommerce.Markdown(seconds(t)) + "\n"
	if table == want {
		return
	}
	if os.Getenv("UPDATE") == "" {
		t.Fatalf("README.md has another table than answers.yml; UPDATE=1 rewrites it:\n%s", want)
	}
	if err := os.WriteFile(file, []byte(before+begin+want+end+after), 0o600); err != nil {
		t.Fatal(err)
	}
}

// docs/seconds.svg draws what answers.yml says; UPDATE=1 draws it anew.
func TestThePictureShowsTheSeconds(t *testing.T) {
	want, err := upcommerce.Picture(seconds(t))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join("..", "..", "docs", "seconds.svg")
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(file, want, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(file); err != nil || !bytes.Equal(got, want) {
		t.Errorf("docs/seconds.svg is not drawn from answers.yml (%v); UPDATE=1 draws it anew", err)
	}
}

// seconds are the committed ones, by kind of fault.
func seconds(t *testing.T) []upcommerce.Seconds {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "answers.yml"))
	if err != nil {
		t.Fatal(err)
	}
	faults, err := upcommerce.ReadFaults(text)
	if err != nil || len(faults) == 0 {
		t.Fatalf("answers.yml has no seconds by kind of fault: %v", err)
	}
	return faults
}

// A file that is not the exercise's is refused, with what is wrong.
func TestAnswersThatAreNone(t *testing.T) {
	whole, err := os.ReadFile(filepath.Join("..", "..", "answers.yml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, from, to, want string }{
		{"a missing key", "canary_pods_running:", "canaries:", "pods_status.canary_pods_running is missing"},
		{"an unknown key", "canary_pods_running:", "canaries:", "pods_status.canaries is no key of the exercise"},
		{"words for a number", "main_pods_running: 3", "main_pods_running: three", `"three" is no number`},
		{"no unit", "main_pods_running: 3 # pods", "main_pods_running: 3", "does not name the unit, pods"},
		{"no address", "main_service_cluster_ip: 10", "main_service_cluster_ip: ten", "is no IP address"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			text := bytes.Replace(whole, []byte(tt.from), []byte(tt.to), 1)
			if bytes.Equal(text, whole) {
				t.Fatalf("answers.yml has no %q", tt.from)
			}
			if _, err := upcommerce.Read(text); err == nil || !bytes.Contains([]byte(err.Error()), []byte(tt.want)) {
				t.Errorf("read with the error %v, want one that says %q", err, tt.want)
			}
		})
	}
}

// The whole exercise, on a sandbox: every step proves what it says, and the answers
// are the committed ones, within what keys tolerate. What is open at the end passes the
// exercise's own checks.
func TestTheExercise(t *testing.T) {
	if os.Getenv("UPCOMMERCE_URL") != "" {
		t.Skip("UPCOMMERCE_URL names a deployment that is running: TestARunningDeployment looks at it")
	}
	st := stage.Start(t, upcommerce.Unpullable())
	bar := progress.New(&lines{t: t})
	defer bar.End()
	g, err := upcommerce.OnSandbox(t.Context(), st, bar)
	if err != nil {
		t.Fatal(err)
	}
	fresh, err := upcommerce.Do(t.Context(), g, &lines{t: t}, bar)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "answers.yml")
	if err := fresh.Write(file); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("the answers:\n%s", text)
	values, err := upcommerce.Read(text)
	if err != nil {
		t.Error(err)
	}
	for _, difference := range upcommerce.Differences(committed(t), values) {
		t.Errorf("answers.yml and a fresh run differ: %s; `make upcommerce` writes it anew", difference)
	}
	checks(t, g)
}

// TestARunningDeployment makes the exercise's own checks of v1 with the canary v2,
// on any cluster: docs/upcommerce.md has the variables.
func TestARunningDeployment(t *testing.T) {
	if os.Getenv("UPCOMMERCE_URL") == "" {
		t.Skip("UPCOMMERCE_URL is not set; TestTheExercise makes the same checks on a sandbox")
	}
	g, err := upcommerce.FromEnvironment(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	checks(t, g)
}

// checks are the exercise's own.
func checks(t *testing.T, g *upcommerce.Ground) {
	t.Run("each version has its page and colour", func(t *testing.T) {
		if err := upcommerce.Pages(t.Context(), g.Shoppers(), map[string]string{"v1": "white", "v2": "green"}); err != nil {
			t.Error(err)
		}
	})
	t.Run("each version has metrics", func(t *testing.T) {
		if err := upcommerce.Metrics(t.Context(), g.Shoppers(), "v1", "v2"); err != nil {
			t.Error(err)
		}
	})
	t.Run("the canary gets a fifth of the traffic", func(t *testing.T) {
		if split, err := upcommerce.Split(t.Context(), g.Shoppers(), "v2"); err != nil {
			t.Error(err)
		} else {
			t.Log(split)
		}
	})
	t.Run("the error budget is not used up", func(t *testing.T) {
		if b, err := upcommerce.ErrorBudget(t.Context(), g); err != nil {
			t.Error(err)
		} else {
			t.Logf("%.3f%% of %v seconds are left", b.Left, b.Seconds)
		}
	})
}

// lines gives what is written to it to the test's log.
type lines struct{ t *testing.T }

func (l *lines) Write(b []byte) (int, error) {
	l.t.Log(string(bytes.TrimRight(b, "\n")))
	return len(b), nil
}
