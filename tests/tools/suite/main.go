// Command suite runs the end-to-end tests: it compiles the programs that they run, runs their packages side by side, and ends with
// what passed, failed and was skipped, the slowest tests, and where the logs are. With -run it runs the packages that have a
// matching test, prints all that they say, and lets the first test that needs a sandbox use the one that make sandbox keeps.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/upcommerce/backout/tests/env/programs"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	s := suite{out: os.Stdout}
	flag.StringVar(&s.run, "run", "", "run only tests that match this `regexp`, as go test -run")
	flag.IntVar(&s.jobs, "jobs", 2, "packages that run at the same time, apart from those that measure seconds and the ones next to them; each runs as many tests at a time as there are processors")
	flag.Parse()
	if flag.NArg() > 0 || s.jobs < 1 {
		fmt.Fprintln(os.Stderr, "suite: it takes flags only, and -jobs is at least 1; try -run REGEXP")
		os.Exit(2)
	}
	err := s.do(ctx)
	if err != nil {
		fmt.Fprintln(os.Stderr, "suite:", err)
		stop()
		os.Exit(1)
	}
}

// errFailed is the error of a run whose summary says what failed.
var errFailed = errors.New("there are failures")

// do runs the suite.
func (s *suite) do(ctx context.Context) error {
	root, err := programs.Repository()
	if err != nil {
		return err
	}
	s.tests, s.logs = filepath.Join(root, "tests"), filepath.Join(root, "bin", "test-logs")
	if err := errors.Join(os.RemoveAll(s.logs), os.MkdirAll(s.logs, 0o750)); err != nil {
		return fmt.Errorf("make the directory for logs: %w", err)
	}
	s.begun = time.Now()
	if err := s.compile(ctx); err != nil {
		return err
	}
	all, err := s.packages(ctx)
	if err != nil {
		return err
	}
	results := s.runAll(ctx, all)
	return s.summary(results)
}

// compile builds the programs that the tests run, so that their time limits need not allow for it.
func (s *suite) compile(ctx context.Context) error {
	if err := os.Setenv(programs.Current, time.Now().UTC().Format(time.RFC3339Nano)); err != nil {
		return err
	}
	var shown time.Time
	return programs.Compile(ctx, programs.Plan{Rounds: programs.Tested()}, func(w programs.Work) {
		if w.Took > time.Second && time.Since(shown) >= reminder {
			s.printf("%s", w)
			shown = time.Now()
		}
	})
}

// reminder is how often a long stage says that it goes on.
const reminder = 10 * time.Second

// printf prints a line with the time since the beginning.
func (s *suite) printf(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintf(s.out, "%5.0fs  %s\n", time.Since(s.begun).Seconds(), fmt.Sprintf(format, args...))
}
