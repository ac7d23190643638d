package controlplane

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/pflag"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	cliflag "k8s.io/component-base/cli/flag"
)

// component is one Kubernetes server program: its flags, and how it runs after they are parsed.
type component struct {
	name  string
	flags *cliflag.NamedFlagSets
	args  []string
	run   func(ctx context.Context) error
}

// parse parses the component's command line with the flag sets that its own main function uses.
func (c component) parse() error {
	all := pflag.NewFlagSet(c.name, pflag.ContinueOnError)
	for _, set := range c.flags.FlagSets {
		all.AddFlagSet(set)
	}
	if err := all.Parse(c.args); err != nil {
		return fmt.Errorf("parse the flags of %s: %w", c.name, err)
	}
	return nil
}

var errEnded = errors.New("it ended by itself; the control plane's log has the reason")

// orEnded returns an error for a server that returned nil although nothing stopped it.
func orEnded(err error) error {
	if err == nil {
		return errEnded
	}
	return err
}

// awaitReady polls /readyz until it answers ok, or ctx or a component ends.
func awaitReady(ctx context.Context, kubeconfig string, ended <-chan error) error {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return fmt.Errorf("read the kubeconfig of the control plane: %w", err)
	}
	config.QPS = -1
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
