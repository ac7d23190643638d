// Command demo shows backout on this machine: a canary turns bad, an alert fires at a real
// Alertmanager, and backout rolls a real Helm release back. It prints the events at the API
// server, and ends with exit code 0 only if all of them happened. While the storefront is
// installed, it compiles backout and its monitoring, if they have changed.
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
	"sync/atomic"
	"syscall"
	"time"

	"github.com/upcommerce/backout/tests/env/programs"
	"github.com/upcommerce/backout/tests/env/progress"
	"github.com/upcommerce/backout/tests/env/stage"
)

// playLimit bounds the story itself, without the time for compiling and opening.
const playLimit = 3 * time.Minute

// keepFiring is how long an alert goes on firing when its cause is gone. The shipped rules say
// a minute, which only makes the end of the story wait.
const keepFiring = time.Second

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
	pictures := os.Getenv("SCREENSHOTS")
	later := stage.Later()
	if pictures != "" {
		later = append(later, programs.KubeStateMetrics())
	}
	compiling, interrupt := context.WithCancel(ctx)
	rest := compile(compiling, later)
	defer func() { interrupt(); <-rest.done }()
	st, err := stage.OpenFirst(ctx, bar.Begin)
	if err != nil {
		return err
	}
	defer func() {
		if left := st.Sandbox.Close(); left != nil {
			// Not joined: main must not report that nothing is left behind.
			err = fmt.Errorf("close the sandbox: %w", left)
		}
	}()
	s := scene{stage: st, bar: bar, out: os.Stdout, pictures: pictures, left: playLimit}
	failed := s.play(ctx, rest)
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

// compilation is the compilation of what the second act needs, while the first act runs.
type compilation struct {
	work atomic.Pointer[programs.Work]
	done chan struct{}
	err  error // set before done is closed
}

// compile begins to compile programs.
func compile(ctx context.Context, all []programs.Binary) *compilation {
	c := &compilation{done: make(chan struct{})}
	c.work.Store(&programs.Work{Programs: all[0].Name})
	go func() {
		defer close(c.done)
		c.err = programs.Compile(ctx, programs.Plan{Rounds: [][]programs.Binary{all}}, func(w programs.Work) { c.work.Store(&w) })
	}()
	return c
}

// await returns when everything is compiled, and shows until then how much is left.
func (c *compilation) await(ctx context.Context, bar *progress.Progress) error {
	select {
	case <-c.done:
		return c.err
	default:
	}
	bar.Follow(func() string { return c.work.Load().String() })
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-c.done:
		return c.err
	}
}
