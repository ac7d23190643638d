package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"sync"
	"syscall"

	"github.com/upcommerce/backout/tests/env/sandbox"
	"github.com/upcommerce/backout/tests/env/sandbox/control"
	"github.com/upcommerce/backout/tests/env/sandbox/controlplane"
	"github.com/upcommerce/backout/tests/env/sandbox/controlplane/controllers"
	"github.com/upcommerce/backout/tests/env/sandbox/inside"
)

// errSetUp marks errors of the set-up in new namespaces: some kernels permit the namespaces, but nothing in them.
var errSetUp = errors.New("set up the namespaces of a sandbox")

// liveInside is the role of process 1 in a sandbox's namespaces. It ends the process, and with it everything in its PID
// namespace.
func liveInside(ctx context.Context, dir string) {
	if os.Getpid() != 1 {
		fmt.Fprintln(os.Stderr, "run inside a sandbox: this is not process 1 of a PID namespace; use sandbox hold")
		os.Exit(2)
	}
	// The leash shows that the outer program no longer reads reports; SIGPIPE must not kill this process. It is caught, because
	// children would inherit an ignored signal.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	var ending sync.Mutex
	go func() {
		awaitEnd(os.Stdin)
		ending.Lock()
		// The outer program may be dead, and cannot remove it.
		_ = os.RemoveAll(dir)
		os.Exit(0)
	}()
	// In /proc, the first thread represents the process: no goroutine may move it to other namespaces.
	runtime.LockOSThread()
	err := runInside(ctx, dir)
	ending.Lock() // not in the middle of the removal
	reportEnd(err)
	os.Exit(1)
}

// A control plane allocates much and keeps little of it. With these values a scenario takes a fifth less processor time than with Go's
// defaults.
const (
	gcPercent   = 400
	memoryLimit = 1 << 30 // bytes; above, garbage is collected as often as it takes
)

// runInside makes the sandbox and runs it. It returns only when it cannot go on, with the reason.
func runInside(ctx context.Context, dir string) error {
	debug.SetGCPercent(gcPercent)
	debug.SetMemoryLimit(memoryLimit)
	report(control.Report{Stage: control.StageNetwork})
	if err := errors.Join(inside.SetUpMounts(), inside.SetUpNetwork(sandbox.BridgeAddress)); err != nil {
		return errors.Join(errSetUp, err)
	}
	layout := sandbox.Layout{Dir: dir}
	supervisor := inside.NewSupervisor()
	if err := serveControl(ctx, layout.Socket(), supervisor); err != nil {
		return err
	}
	settings, err := layout.ReadSettings()
	if err != nil {
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
		AuditPolicy:       layout.AuditPolicy(),
		AuditLog:          layout.AuditLog(),
		Kubeconfig:        layout.InnerKubeconfig(),
	}, controlplane.Components{
		APIServer: apiServer(settings, supervisor), Controllers: controllers.Run, Scheduler: controllers.Schedule,
	}, func(s control.Stage) {
		if s == control.StageControllers { // the API server is there
			go routeUsers(ctx, layout)
			go runPods(ctx, layout, supervisor)
		}
		report(control.Report{Stage: s})
	})
}

// awaitEnd returns when the other end of leash is closed: the outer program has closed the sandbox, or has died.
func awaitEnd(leash io.Reader) { _, _ = io.Copy(io.Discard, leash) }

// serveControl answers on the socket in the background; it listens when serveControl returns.
func serveControl(ctx context.Context, socket string, supervisor *inside.Supervisor) error {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "unix", socket)
	if err != nil {
		return fmt.Errorf("listen for the outer program: %w", err)
	}
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
