// Package upcommerce_test does the UpCommerce exercise on a sandbox and checks a deployment that is already running.
package upcommerce_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/upcommerce/backout/tests/env/progress"
	"github.com/upcommerce/backout/tests/env/stage"
	"github.com/upcommerce/backout/tests/tools/upcommerce/exercise"
)

// committed returns the committed answers.
func committed(t *testing.T) map[string]any {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "..", "answers.yml"))
	if err != nil {
		t.Fatalf("%v; `make upcommerce` writes them", err)
	}
	values, err := exercise.Read(text)
	if err != nil {
		t.Fatalf("answers.yml: %v; `make upcommerce` rewrites it", err)
	}
	return values
}

// The whole exercise, on a sandbox: every step succeeds, the answers equal the committed
// ones within their tolerances, and the deployment at the end passes the exercise's own
// checks.
func TestTheExercise(t *testing.T) {
	if os.Getenv("UPCOMMERCE_URL") != "" {
		t.Skip("UPCOMMERCE_URL names a running deployment: TestARunningDeployment checks it")
	}
	st := stage.Start(t, exercise.Unpullable())
	bar := progress.New(&lines{t: t})
	defer bar.End()
	g, err := exercise.OnSandbox(t.Context(), st, bar, exercise.Pace{Window: 2 * time.Minute, KeepFiring: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	fresh, err := exercise.Do(t.Context(), g, &lines{t: t}, bar)
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
	values, err := exercise.Read(text)
	if err != nil {
		t.Error(err)
	}
	for _, difference := range exercise.Differences(exercise.After(fresh.Traffic, committed(t)), values) {
		t.Errorf("answers.yml and a fresh run differ: %s; `make upcommerce` rewrites it", difference)
	}
	checks(t, g)
}

// TestARunningDeployment runs the exercise's own checks of v1 with the canary v2 on any
// cluster: docs/upcommerce.md has the variables.
func TestARunningDeployment(t *testing.T) {
	if os.Getenv("UPCOMMERCE_URL") == "" {
		t.Skip("UPCOMMERCE_URL is not set; TestTheExercise runs the same checks on a sandbox")
	}
	g, err := exercise.FromEnvironment(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	checks(t, g)
}

// checks runs the exercise's own checks.
func checks(t *testing.T, g *exercise.Ground) {
	t.Run("each version has its page and colour", func(t *testing.T) {
		if err := exercise.Pages(t.Context(), g.Shoppers(), map[string]string{"v1": "white", "v2": "green"}); err != nil {
			t.Error(err)
		}
	})
	t.Run("each version has metrics", func(t *testing.T) {
		if err := exercise.Metrics(t.Context(), g.Shoppers(), "v1", "v2"); err != nil {
			t.Error(err)
		}
	})
	t.Run("the canary gets a fifth of the traffic", func(t *testing.T) {
		if split, err := exercise.Split(t.Context(), g.Shoppers(), "v2"); err != nil {
			t.Error(err)
		} else {
			t.Log(split)
		}
	})
	t.Run("the error budget is not used up", func(t *testing.T) {
		if b, err := exercise.ErrorBudget(t.Context(), g); err != nil {
			t.Error(err)
		} else {
			t.Logf("%.3f%% of %v seconds are left", b.Left, b.Seconds)
		}
	})
}

// lines writes to the test's log.
type lines struct{ t *testing.T }

func (l *lines) Write(b []byte) (int, error) {
	l.t.Log(string(bytes.TrimRight(b, "\n")))
	return len(b), nil
}
