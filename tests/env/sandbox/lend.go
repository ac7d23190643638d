package sandbox

import (
	"context"
	"errors"
	"fmt"

	"github.com/upcommerce/backout/tests/env/programs"
	"github.com/upcommerce/backout/tests/env/sandbox/kept"
)

// Lend offers the sandbox at a place whose Lock the caller holds, calls offered, and returns when a test has taken it, with the
// test's name. It returns an error when ctx or the control plane ends first. A sandbox that was lent once must not be lent again.
func (s *Sandbox) Lend(ctx context.Context, p kept.Place, offered func()) (test string, lease *kept.Lease, err error) {
	// The file that runs, not the one at its path, which may be built again at any time.
	build, err := kept.BuildID(fmt.Sprintf("/proc/%d/exe", s.inner.cmd.Process.Pid))
	if err != nil {
		return "", nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-s.Done():
			cancel(errors.New("the control plane has ended by itself" + quoteTail(s.layout.ControlPlaneLog())))
		case <-ctx.Done():
		}
	}()
	return p.Lend(ctx, kept.Offer{Dir: s.Dir(), Build: build, APIServer: programs.ReadyMadeAPIServer()}, offered)
}

// EndPrograms kills all programs that this process and others run inside. Pods go on.
func (s *Sandbox) EndPrograms(ctx context.Context) error { return s.control.Kill(ctx) }

// Inspection says how to look at a sandbox whose test has ended.
func (s *Sandbox) Inspection() string {
	return fmt.Sprintf(`until the next test takes a kept control plane, this one is open:

  export KUBECONFIG=%s

The logs of pods are in %s, those of other programs in %s, and the control plane's is %s.`,
		s.Kubeconfig(), s.PodLogs(), s.layout.Children(), s.layout.ControlPlaneLog())
}
