package chaos

import (
	"context"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/upcommerce/backout/tests/env/stage"
)

// width is how many trials run in parallel, unless FAULTS_WIDTH says otherwise.
const width = 6

// The ports of trials are below those that the kernel assigns.
const (
	firstPort = 21000
	trialPort = 8
)

// TestFaults runs a sample of eleven, or with FAULTS=all everything. FAULTS_SEED
// chooses the sample and all instants, FAULTS_ONLY is a regular expression for
// the trials to run, "kind, name". FAULTS_BACKOUT is another build of backout.
func TestFaults(t *testing.T) {
	seed := number(t, "FAULTS_SEED", 1)
	st := stage.Start(t, GoneImage())
	dir, err := os.MkdirTemp("", "backout-faults-") //nolint:usetesting // logs of failed trials outlive the test
	if err != nil {
		t.Fatal(err)
	}
	run := runner{t: t, stage: st, dir: dir}
	clean := run.one(Trial{Kind: nothing, Name: "clean"})
	t.Log(clean.Result)
	if !clean.Right() {
		t.Fatal("backout does not work even if nothing breaks")
	}
	t.Logf("a clean run has %d writes and takes %s; the seed is %d", clean.writes, clean.Took.Round(time.Millisecond), seed)
	facts := Clean{Writes: clean.writes, Took: clean.Took, Commanded: fewCommanded}
	results := []Result{clean.Result}
	if everything() {
		order := run.one(Trial{Kind: nothing, Name: "clean, an operator's command", Order: func(ctx context.Context, r *Run) error { return r.finishCommand(ctx) }})
		t.Logf("%s; the command has %d writes", order.Result, order.commanded)
		results, facts.Commanded = append(results, order.Result), max(fewCommanded, order.commanded)
	}
	trials := choose(t, facts, uint64(seed))
	results = append(results, run.all(trials, number(t, "FAULTS_WIDTH", width))...)
	var table strings.Builder
	if err := Print(&table, results); err != nil {
		t.Fatal(err)
	}
	t.Logf("seed %d\n%s", seed, table.String())
	for _, r := range results {
		if !r.Right() {
			t.Errorf("%s, %s: %s\n    logs: %s\n    again: FAULTS=all FAULTS_SEED=%d FAULTS_ONLY='^%s$'",
				r.Kind, r.Name, r.Wrong(), r.Dir, seed, regexp.QuoteMeta(r.Kind+", "+r.Name))
		}
	}
	if !t.Failed() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	}
}

func number(t *testing.T, name string, otherwise int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("%s=%q: want a number", name, text)
	}
	return n
}

// everything reports whether more than a sample is to run.
func everything() bool { return os.Getenv("FAULTS") == "all" }

// choose returns the trials to run. The dice of each kind are its own, so that a
// kind's trials do not depend on the others'.
func choose(t *testing.T, c Clean, seed uint64) []Trial {
	t.Helper()
	all := everything()
	only, err := regexp.Compile(os.Getenv("FAULTS_ONLY"))
	if err != nil {
		t.Fatalf("FAULTS_ONLY: %v", err)
	}
	var chosen []Trial
	for _, kind := range Kinds() {
		name := fnv.New64()
		_, _ = name.Write([]byte(kind.Name))
		dice := rand.New(rand.NewPCG(seed, name.Sum64()))
		trials := kind.Trials(c, dice)
		if !all && !kind.Sampled {
			continue
		}
		if !all {
			trials = []Trial{trials[dice.IntN(len(trials))]}
		}
		for _, trial := range trials {
			trial.Kind = kind.Name
			if only.MatchString(trial.Kind + ", " + trial.Name) {
				chosen = append(chosen, trial)
			}
		}
	}
	return chosen
}

// runner runs trials, each in a namespace and a directory of its own.
type runner struct {
	t     *testing.T
	stage *stage.Stage
	dir   string

	mu   sync.Mutex
	next int
}

// measured is a Result and the number of backout's writes.
type measured struct {
	Result
	writes int
	// commanded is how many the command has.
	commanded int
}

func (r *runner) one(trial Trial) measured {
	r.mu.Lock()
	n := r.next
	r.next++
	r.mu.Unlock()
	dir := filepath.Join(r.dir, fmt.Sprintf("%03d", n))
	run := NewRun(r.stage, trial, fmt.Sprintf("faults-%03d", n), dir)
	result := run.Try(r.t.Context(), firstPort+trialPort*n)
	if result.Right() {
		_ = os.RemoveAll(dir)
	}
	m := measured{Result: result}
	if result.Err == nil {
		m.writes = len(run.proxy.Writes())
		if run.command != nil {
			m.commanded = len(run.command.proxy.Writes())
		}
	}
	return m
}

// all runs the trials, some in parallel, and logs each as it ends.
func (r *runner) all(trials []Trial, width int) []Result {
	results := make([]Result, len(trials))
	indices := make(chan int)
	var workers sync.WaitGroup
	var done int
	for range width {
		workers.Go(func() {
			for i := range indices {
				results[i] = r.one(trials[i]).Result
				r.mu.Lock()
				done++
				r.t.Logf("%d of %d: %s", done, len(trials), results[i])
				r.mu.Unlock()
			}
		})
	}
	for i := range trials {
		indices <- i
	}
	close(indices)
	workers.Wait()
	return results
}
