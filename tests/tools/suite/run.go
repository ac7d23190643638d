package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/upcommerce/backout/tests/env/sandbox/kept"
)

// suite is one run.
type suite struct {
	out   io.Writer
	run   string // regexp; "" for all tests
	jobs  int
	tests string // directory of the module tests
	logs  string // directory
	begun time.Time

	mu sync.Mutex // guards out
}

// testPackage is one package with tests.
type testPackage struct {
	// module is the directory of its Go module, path the package's below it.
	module, path string
}

// name is unique: the path below tests.
func (p testPackage) name() string {
	if p.path == "." {
		return filepath.Base(p.module)
	}
	return p.path
}

// result is what a package's tests did.
type result struct {
	testPackage
	took  time.Duration
	used  time.Duration // of the processors, with all that its tests started and waited for
	tests []test
	// broken is how the package failed outside of a test; "" if it did not.
	broken string
	log    string          // path
	uses   []use           // of a kept control plane, or why not
	open   map[string]bool // tests that have begun and not ended
}

// test is the outcome of one test or subtest.
type test struct {
	name    string
	outcome string // "pass", "fail" or "skip"
	took    time.Duration
	reason  string   // of a skip
	said    []string // the last lines of a failure that its own test file printed
}

// event is a line of go test -json.
type event struct {
	Action, Test, Output string
	Elapsed              float64
}

// runAll runs the packages: first those that measure seconds, each with the ones that may run in parallel, then the others, jobs of them
// at the same time.
func (s *suite) runAll(ctx context.Context, all []testPackage) []result {
	results := make([]result, len(all))
	names, left := make([]string, len(all)), make(map[string]int)
	for i, p := range all {
		names[i], left[p.name()] = p.name(), i
	}
	// queue returns the packages of these names that are left, in that order.
	queue := func(names ...string) chan int {
		c := make(chan int, len(all))
		defer close(c)
		for _, name := range names {
			if i, ok := left[name]; ok {
				delete(left, name)
				c <- i
			}
		}
		return c
	}
	drain := func(queues ...chan int) {
		var working sync.WaitGroup
		for _, q := range queues {
			working.Go(func() {
				for i := range q {
					results[i] = s.runNext(ctx, all[i])
				}
			})
		}
		working.Wait()
	}
	for _, q := range quietOnes() {
		lanes := []chan int{queue(q.name)}
		for _, lane := range q.lanes {
			lanes = append(lanes, queue(lane...))
		}
		drain(lanes...)
	}
	drain(slices.Repeat([]chan int{queue(names...)}, s.jobs)...)
	return results
}

// runNext runs the tests of a package, unless the suite has to end.
func (s *suite) runNext(ctx context.Context, p testPackage) result {
	if ctx.Err() != nil {
		return result{testPackage: p, broken: "not run: " + ctx.Err().Error()}
	}
	s.printf("running  %s", p.name())
	r := s.runOne(ctx, p)
	s.printf("%s  %s in %.0fs, %.0f CPU s", r.word(), p.name(), r.took.Seconds(), r.used.Seconds())
	return r
}

// runOne runs the tests of a package. Its log has all that they print.
func (s *suite) runOne(ctx context.Context, p testPackage) result {
	r := result{testPackage: p, open: map[string]bool{}, log: filepath.Join(s.logs, strings.ReplaceAll(p.name(), "/", "-")+".log")}
	begun := time.Now()
	err := s.follow(ctx, &r)
	r.took = time.Since(begun)
	switch unfinished := slices.Sorted(maps.Keys(r.open)); {
	case err != nil && len(unfinished) > 0:
		r.broken = fmt.Sprintf("%v in the middle of %s", err, strings.Join(unfinished, ", "))
	case err != nil && !slices.ContainsFunc(r.tests, func(t test) bool { return t.outcome == "fail" }):
		r.broken = err.Error()
	}
	return r
}

func (s *suite) follow(ctx context.Context, r *result) (err error) {
	log, err := os.Create(r.log)
	if err != nil {
		return fmt.Errorf("make the log: %w", err)
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	// Without the symbols for a debugger, linking takes half as long. make lint runs vet.
	args := []string{"test", "-count=1", "-timeout=20m", "-json", "-vet=off", "-ldflags=-s"}
	env := append(os.Environ(), "GOWORK=off")
	if s.run != "" {
		place, err := kept.Usual()
		if err != nil {
			return err
		}
		args = append(args, "-run", s.run)
		env = append(env, kept.Environment+"="+string(place))
	}
	cmd := exec.CommandContext(ctx, "go", append(args, "./"+r.path)...)
	cmd.Dir = filepath.Join(s.tests, r.module)
	cmd.Env = env
	// go test does not pass a signal on: the group has the test, too, which ends its sandbox.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGINT) }
	cmd.WaitDelay = time.Minute
	cmd.Stderr = log
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	s.read(pipe, log, r)
	err = cmd.Wait()
	r.used = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	return err
}

// read reads the output of go test -json into the log and the result.
func (s *suite) read(from io.Reader, log io.Writer, r *result) {
	said := map[string]words{} // by test
	lines := bufio.NewReader(from)
	for {
		line, err := lines.ReadBytes('\n')
		var e event
		if json.Unmarshal(line, &e) == nil {
			s.note(e, log, r, said)
		}
		if err != nil {
			return
		}
	}
}

// words are what a test has printed.
type words struct {
	last  string   // line
	lines []string // the last ones of its own test file
}

// The bounds of what a summary repeats of a failure's log.
const (
	keptLines = 5
	keptRunes = 300
)

// inTestFile is the beginning of a line that a test printed with t.Error, t.Fatal or t.Log.
var inTestFile = regexp.MustCompile(`^\w+_test\.go:\d+: `)

// add takes a line of output.
func (w words) add(output string) words {
	text := strings.TrimSpace(output)
	if text == "" || strings.HasPrefix(text, "---") || strings.HasPrefix(text, "===") {
		return w
	}
	w.last = text
	if inTestFile.MatchString(text) {
		if line := []rune(text); len(line) > keptRunes {
			text = string(line[:keptRunes]) + " ..."
		}
		w.lines = append(w.lines, text)
		w.lines = w.lines[max(0, len(w.lines)-keptLines):]
	}
	return w
}

func (s *suite) note(e event, log io.Writer, r *result, said map[string]words) {
	switch e.Action {
	case "run":
		r.open[e.Test] = true
	case "output", "build-output":
		_, _ = io.WriteString(log, e.Output)
		r.noteUse(e)
		if s.run != "" {
			s.mu.Lock()
			_, _ = io.WriteString(s.out, e.Output)
			s.mu.Unlock()
		}
		said[e.Test] = said[e.Test].add(e.Output)
	case "pass", "fail", "skip":
		if e.Test == "" {
			return
		}
		delete(r.open, e.Test)
		t := test{name: e.Test, outcome: e.Action, took: time.Duration(e.Elapsed * float64(time.Second))}
		if t.outcome == "skip" {
			t.reason = said[e.Test].last
		}
		if t.outcome == "fail" {
			t.said = said[e.Test].lines
			s.printf("FAIL     %s %s", r.name(), t.name)
		}
		r.tests = append(r.tests, t)
	}
}

// word is the outcome of the package.
func (r result) word() string {
	if r.broken != "" || slices.ContainsFunc(r.tests, func(t test) bool { return t.outcome == "fail" }) {
		return "FAILED "
	}
	return "passed "
}
