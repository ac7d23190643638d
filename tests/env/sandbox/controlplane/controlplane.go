// Package controlplane runs etcd, an API server, controllers and a scheduler in the calling process. Its subpackages compose them of
// Kubernetes' own packages; docs/sandbox.md says what is there and what is not.
//
// The components share process-wide registries (metrics, feature gates, klog), so a process can run only one control plane.
package controlplane

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

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
	// Tokens is a CSV file of tokens and their users, as kube-apiserver's --token-auth-file.
	Tokens string
	// AuditPolicy is the file that says which requests are written to AuditLog, as lines of JSON.
	AuditPolicy, AuditLog string
	// Kubeconfig is the file that controllers and scheduler use; its user must be in system:masters.
	Kubeconfig string
}

// Issuer signs the tokens of service accounts, and is their audience.
const Issuer = "https://kubernetes.default.svc"

// Component is one part of a control plane. It runs until ctx ends, and returns an error if it cannot go on.
type Component func(ctx context.Context, o Options) error

// Components are the parts besides etcd.
type Components struct{ APIServer, Controllers, Scheduler Component }

// Run starts a control plane, reports each stage as it begins, and blocks. It returns the error of the first component that
// ends, or nil when ctx ends. It does not shut the components down in order, because the process is expected to exit then.
// The components log to standard error.
func Run(ctx context.Context, o Options, c Components, begin func(control.Stage)) error {
	rest.SetDefaultWarningHandler(rest.NoWarnings{})

	begin(control.StageEtcd)
	if err := startEtcd(ctx, filepath.Join(o.Dir, "etcd")); err != nil {
		return err
	}

	ended := make(chan error, 3)
	launch := func(name string, run Component) {
		go func() { ended <- fmt.Errorf("run %s: %w", name, orEnded(run(ctx, o))) }()
	}
	begin(control.StageAPIServer)
	launch("the API server", c.APIServer)
	if err := awaitReady(ctx, o, ended); err != nil {
		return err
	}

	begin(control.StageControllers)
	launch("the controllers", c.Controllers)
	launch("the scheduler", c.Scheduler)
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
		return nil
	}
}

var errEnded = errors.New("it ended by itself; the control plane's log has the reason")

// orEnded returns an error for a server that returned nil although nothing stopped it.
func orEnded(err error) error {
	if err == nil {
		return errEnded
	}
	return err
}

// ClientConfig is for clients of the API server. They have no rate limit: the defaults are for big clusters.
func (o Options) ClientConfig() (*rest.Config, error) {
	config, err := clientcmd.BuildConfigFromFlags("", o.Kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("read the kubeconfig of the control plane: %w", err)
	}
	config.QPS = -1
	return config, nil
}

// WithoutManagedFields is for informers: it leaves out what no component of the control plane reads.
func WithoutManagedFields(object any) (any, error) {
	if accessor, err := meta.Accessor(object); err == nil {
		accessor.SetManagedFields(nil)
	}
	return object, nil
}

// awaitReady polls /readyz until it answers ok, or ctx or a component ends.
func awaitReady(ctx context.Context, o Options, ended <-chan error) error {
	config, err := o.ClientConfig()
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("make a client for the API server: %w", err)
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		if _, err := client.RESTClient().Get().AbsPath("/readyz").DoRaw(ctx); err == nil {
			return nil
		}
		select {
		case err := <-ended:
			return err
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}
