package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"time"

	"github.com/upcommerce/backout/tests/env/progress"
	"github.com/upcommerce/backout/tests/env/sandbox"
	"github.com/upcommerce/backout/tests/env/sandbox/kept"
)

// keep is the command sandbox keep.
type keep struct {
	place       string
	out, errOut io.Writer
	used        *sandbox.Sandbox // by the last test that has ended; nil: none is open
}

func (k *keep) addFlags(f *flag.FlagSet) {
	f.StringVar(&k.place, "place", "", "`directory` where tests find the offer; \"\" is that of make sandbox")
}

// run opens one sandbox after the other and offers each to one test, until ctx ends, or a control plane ends by itself before a
// test takes it. At most two are open: one that waits for a test or has one, and the one of the test before.
func (k *keep) run(ctx context.Context, out, errOut io.Writer) (err error) {
	k.out, k.errOut = out, errOut
	place := kept.Place(k.place)
	if place == "" {
		if place, err = kept.Usual(); err != nil {
			return err
		}
	}
	unlock, err := place.Lock()
	if err != nil {
		return err
	}
	defer unlock()
	defer func() { err = errors.Join(err, k.closeUsed()) }()
	for ctx.Err() == nil {
		if err := k.one(ctx, place); err != nil && ctx.Err() == nil {
			return err
		}
	}
	fmt.Fprintln(k.errOut, "closing the control plane")
	return nil
}

// one opens a sandbox, offers it, and returns when the test that took it has ended. Then the sandbox is the used one.
func (k *keep) one(ctx context.Context, place kept.Place) error {
	s, err := k.open(ctx)
	if err != nil {
		return err
	}
	test, lease, err := s.Lend(ctx, place, k.ready)
	if err != nil {
		return errors.Join(err, s.Close())
	}
	defer lease.Close()
	fmt.Fprintf(k.out, "%s uses it\n", test)
	if err := k.closeUsed(); err != nil {
		return errors.Join(err, s.Close())
	}
	k.used = s
	select {
	case <-lease.Done():
	case <-ctx.Done():
		return nil
	case <-s.Done():
		fmt.Fprintf(k.out, "the control plane of %s has ended by itself; its log is in %s\n", test, s.Dir())
		return nil
	}
	// The test may have been killed: its programs would go on.
	limited, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := s.EndPrograms(limited); err != nil {
		fmt.Fprintln(k.errOut, err)
	}
	fmt.Fprintf(k.out, "\n%s has ended; %s\n\n", test, s.Inspection())
	return nil
}

// open opens a sandbox. It runs the file that this process runs: the one at its path may have been built again.
func (k *keep) open(ctx context.Context) (*sandbox.Sandbox, error) {
	bar := progress.New(k.errOut)
	defer bar.End()
	program := ownProgram()
	if program != "" {
		program = "/proc/self/exe"
	}
	return sandbox.Open(ctx, sandbox.Options{Program: program, Progress: bar.Begin})
}

func (k *keep) ready() {
	fmt.Fprintln(k.out, "A control plane is ready for the next make e2e RUN=TestName. Ctrl-C ends it.")
}

// closeUsed closes the sandbox of the test that has ended.
func (k *keep) closeUsed() error {
	if k.used == nil {
		return nil
	}
	s := k.used
	k.used = nil
	return s.Close()
}
