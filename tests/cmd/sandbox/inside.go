package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"

	"github.com/upcommerce/backout/tests/sandbox"
	"github.com/upcommerce/backout/tests/sandbox/control"
	"github.com/upcommerce/backout/tests/sandbox/controlplane"
	"github.com/upcommerce/backout/tests/sandbox/inside"
)

// errSetUp marks what goes wrong in namespaces that are new. Some kernels permit the namespaces, but nothing in them.
var errSetUp = errors.New("set up the namespaces of a sandbox")

// runInside is the role of process 1 in a sandbox's namespaces. It returns only to report why it cannot go on.
func runInside(ctx context.Context, dir string) error {
	if os.Getpid() != 1 {
		return errors.New("run inside a sandbox: this is not process 1 of a PID namespace; use sandbox hold")
	}
	go endWith(os.Stdin, dir)

	report(control.Report{Stage: control.StageNetwork})
	if err := errors.Join(inside.SetUpMounts(), inside.SetUpNetwork(sandbox.BridgeAddress)); err != nil {
		return errors.Join(errSetUp, err)
	}
	layout := sandbox.Layout{Dir: dir}
	if err := serveControl(ctx, layout.Socket()); err != nil {
		return err
	}
	return controlplane.Run(ctx, controlplane.Options{
		Dir:               dir,
		Address:           sandbox.InnerAddress,
		Port:              sandbox.APIServerPort,
		ServiceCIDR:       sandbox.ServiceCIDR,
		ServingCert:       layout.ServingCert(),
		ServingKey:        layout.ServingKey(),
		ServiceAccountKey: layout.ServiceAccountKey(),
		Tokens:            layout.Tokens(),
		Kubeconfig:        layout.InnerKubeconfig(),
	}, func(s control.Stage) { report(control.Report{Stage: s}) })
}

// endWith ends the process, and by that everything in its PID namespace, when the other end of leash is gone: the outer
// program was closed or has died. The directory goes too, as a dead program cannot remove it.
func endWith(leash io.Reader, dir string) {
	_, _ = io.Copy(io.Discard, leash)
	_ = os.RemoveAll(dir)
	os.Exit(0)
}

// serveControl answers on the socket in the background; it listens when serveControl returns.
func serveControl(ctx context.Context, socket string) error {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "unix", socket)
	if err != nil {
		return fmt.Errorf("listen for the outer program: %w", err)
	}
	supervisor := inside.NewSupervisor()
	go supervisor.Run(ctx)
	go func() {
		if err := (control.Server{Supervisor: supervisor}).Serve(ctx, l); err != nil {
			report(control.Report{Error: err.Error()})
			os.Exit(1)
		}
	}()
	return nil
}

// report writes a line for the outer program, which may be gone.
func report(r control.Report) { _ = json.NewEncoder(os.Stdout).Encode(r) }

// reportEnd reports why runInside has returned.
func reportEnd(err error) {
	fmt.Fprintln(os.Stderr, err)
	report(control.Report{Error: err.Error(), Refused: errors.Is(err, errSetUp) && errors.Is(err, syscall.EPERM)})
}
