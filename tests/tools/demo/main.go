// Command demo shows backout on this machine: a canary turns bad, an alert fires at a real
// Alertmanager, and backout rolls a real Helm release back. It prints the events at the API
// server, and ends with exit code 0 only if all of them happened.
//
// With KEEP=1 in the environment the sandbox stays open until Ctrl-C. With
// SCREENSHOTS=FOLDER, Chromium takes pictures of the status page at the end.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/upcommerce/backout/tests/env/progress"
	"github.com/upcommerce/backout/tests/env/sandbox"
	"github.com/upcommerce/backout/tests/env/stage"
)

// playLimit bounds the story itself, without the time for building and opening.
const playLimit = 3 * time.Minute

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := demo(ctx)
	stop()
	switch {
	case errors.Is(err, context.Canceled):
		fmt.Fprintln(os.Stderr, "demo: interrupted; nothing is left behind")
		os.Exit(130)
	case err != nil:
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func demo(ctx context.Context) (err error) {
	bar := progress.New(os.Stderr)
	defer bar.End()
	st, err := stage.Open(ctx, bar.Begin)
	if err != nil {
		return err
	}
	defer func() {
		if left := st.Sandbox.Close(); left != nil {
			// Not joined: main must not report that nothing is left behind.
			err = fmt.Errorf("close the sandbox: %w", left)
		}
	}()
	s := scene{stage: st, bar: bar, out: os.Stdout, pictures: os.Getenv("SCREENSHOTS")}
	if s.pictures != "" {
		if _, err := sandbox.Build(ctx, sandbox.KubeStateMetricsProgram(), bar.Begin); err != nil {
			return err
		}
	}
	playing, cancel := context.WithTimeout(ctx, playLimit)
	defer cancel()
	failed := s.play(playing)
	bar.End()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	s.show(ctx)
	if s.pictures != "" && failed == nil {
		// The dashboards first: they show the minutes until now.
		if failed = s.dashboards(ctx, s.pictures); failed == nil {
			failed = s.screenshots(ctx, s.pictures)
		}
	}
	if os.Getenv("KEEP") != "" {
		s.explain(ctx)
		select {
		case <-ctx.Done():
		case <-st.Sandbox.Done():
			failed = errors.Join(failed, errors.New("the control plane ended by itself"))
		}
	}
	return failed
}
