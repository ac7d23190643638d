// Package controlplane runs etcd, kube-apiserver, kube-controller-manager and kube-scheduler as they are released, in the
// calling process. Only the sandbox program imports it: it links most of Kubernetes.
//
// The components share process-wide registries (metrics, feature gates, klog), so a process can run only one control plane.
package controlplane

import (
	"context"
	"fmt"
	"path/filepath"

	"k8s.io/apiserver/pkg/util/compatibility"
	"k8s.io/client-go/rest"

	"github.com/upcommerce/backout/tests/env/sandbox/control"
)

// Options configure a control plane. Every field is required.
type Options struct {
	// Dir receives etcd's data.
	Dir string
	// Address is the IP the API server listens on and advertises; it must not be a loopback address.
	Address string
	// Port is the API server's TCP port.
	Port int
	// ServiceCIDR is the range of ClusterIPs.
	ServiceCIDR string
	// ServingCert and ServingKey are PEM files. The certificate is self-signed, and pods receive it as their root CA.
	ServingCert, ServingKey string
	// ServiceAccountKey is a PEM file with the private key that signs and checks service account tokens.
	ServiceAccountKey string
	// Tokens is a CSV file for kube-apiserver's --token-auth-file.
	Tokens string
	// AuditPolicy is the file that says which requests are written to AuditLog, as lines of JSON.
	AuditPolicy, AuditLog string
	// Kubeconfig is the file that controller manager and scheduler use; its user must be in system:masters.
	Kubeconfig string
}

// Run starts a control plane, reports each stage as it begins, and blocks. It returns the error of the first component that
// ends, or nil when ctx ends. It does not shut the components down in order, because the process is expected to exit then.
// The components log to standard error.
func Run(ctx context.Context, o Options, begin func(control.Stage)) error {
	manager, err := newControllerManager(o)
	if err != nil {
		return err
	}
	api, scheduler := newAPIServer(o), newScheduler(o)
	for _, c := range []component{api, manager, scheduler} {
		if err := c.parse(); err != nil {
			return err
		}
	}
	// The three components register their feature gates and versions in this one registry, which can be set once.
	if err := compatibility.DefaultComponentGlobalsRegistry.Set(); err != nil {
		return fmt.Errorf("set Kubernetes feature gates: %w", err)
	}
	rest.SetDefaultWarningHandler(rest.NoWarnings{})

	begin(control.StageEtcd)
	if err := startEtcd(ctx, filepath.Join(o.Dir, "etcd")); err != nil {
		return err
	}

	ended := make(chan error, 3)
	launch := func(c component) {
		go func() { ended <- fmt.Errorf("run %s: %w", c.name, orEnded(c.run(ctx))) }()
	}
	begin(control.StageAPIServer)
	launch(api)
	if err := awaitReady(ctx, o.Kubeconfig, ended); err != nil {
		return err
	}

	begin(control.StageControllers)
	// Only now: a controller manager that does not find its API server within 10 seconds exits the process.
	launch(manager)
	launch(scheduler)
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
		return nil
	}
}
