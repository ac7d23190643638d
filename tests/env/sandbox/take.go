package sandbox

import (
	"context"
	"errors"
	"fmt"

	"github.com/upcommerce/backout/tests/env/programs"
	"github.com/upcommerce/backout/tests/env/sandbox/control"
	"github.com/upcommerce/backout/tests/env/sandbox/kept"
)

// Take takes the sandbox that a keeper offers at o.Kept for the test of that name. No other test has used it, and no other will.
// The options have the same effect as for Open, but no kept sandbox has a Log or a Program of the test. The error says why there
// is no sandbox to take; Open still works.
func Take(ctx context.Context, test string, o Options) (*Sandbox, error) {
	if o.Log != nil || o.Program != "" {
		return nil, errors.New("the test chooses the program or its log")
	}
	settings := o.settings()
	if err := settings.validate(); err != nil {
		return nil, err
	}
	if o.Progress == nil {
		o.Progress = func(string) {}
	}
	offer, lease, err := o.Kept.Take(ctx, test, func(offer kept.Offer) error {
		want, err := wanted(ctx, o.Progress)
		return errors.Join(err, offer.Accepts(want))
	})
	if err != nil {
		return nil, err
	}
	layout := Layout{Dir: offer.Dir}
	s := &Sandbox{layout: layout, lease: lease, control: control.Client{Socket: layout.Socket()}, progress: o.Progress}
	s.end = s.giveBack
	if err := s.moveIn(ctx, settings); err != nil {
		err = errors.Join(err, s.Close())
		return nil, fmt.Errorf("use the kept sandbox: %w", err)
	}
	return s, nil
}

// wanted is an offer that a test can use: it runs the program that Open would run.
func wanted(ctx context.Context, progress func(string)) (kept.Offer, error) {
	program, err := programs.Build(ctx, programs.Sandbox(), progress)
	if err != nil {
		return kept.Offer{}, err
	}
	build, err := kept.BuildID(program)
	return kept.Offer{Build: build, APIServer: programs.ReadyMadeAPIServer()}, err
}

// moveIn makes a taken sandbox that of the test. The kubeconfig stays the keeper's, and its forward too: both work after the test.
func (s *Sandbox) moveIn(ctx context.Context, settings Settings) (err error) {
	if err := settings.write(s.layout); err != nil {
		return err
	}
	if s.credentials, s.apiServer, err = readKubeconfig(s.layout.Kubeconfig()); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, dialLimit, fmt.Errorf("it was not ready after %s", dialLimit))
	defer cancel()
	return s.awaitControllers(ctx) // this machine may have slept in between
}

// giveBack ends the programs that the test runs inside, and its lease.
func (s *Sandbox) giveBack() error {
	defer s.lease.Close()
	ctx, cancel := context.WithTimeout(context.Background(), closeLimit)
	defer cancel()
	err := s.control.Kill(ctx)
	select {
	case <-s.lease.Done(): // the keeper has ended, and everything inside with it
		return nil
	default:
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.children {
		select {
		case <-c.done:
		case <-ctx.Done():
			return errors.Join(err, fmt.Errorf("end %s: it was not over after %s", c.name, closeLimit))
		}
	}
	return err
}
