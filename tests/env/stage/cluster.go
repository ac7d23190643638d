package stage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/upcommerce/backout/tests/env/programs"
)

// Cluster is a cluster on which storefronts are installed: that of a Stage, or any other.
type Cluster struct {
	// Config is for clients of the cluster. Client is one of them.
	Config *rest.Config
	Client kubernetes.Interface

	helm program
	// image has helm's arguments for the storefront's image.
	image    []string
	shoppers func(host string) *Shoppers
}

// program is the helm program, with the cluster's own arguments and environment.
type program struct {
	path           string
	arguments, env []string
}

// Reach says how a cluster is reached that no Stage has opened.
type Reach struct {
	Config *rest.Config
	// Context is the context in the kubeconfig that helm finds in the environment.
	Context string
	// Home is a directory for helm's own files.
	Home string
	// Router is the URL of the cluster's router, such as "http://192.0.2.1:30080".
	Router string
	// Arguments are helm's arguments for every installation of the storefront.
	Arguments []string
}

// Reached returns a cluster. Helm has to be built. Of the environment it gets everything
// but the variables that lead it to another cluster.
func Reached(r Reach) (*Cluster, error) {
	client, err := kubernetes.NewForConfig(r.Config)
	if err != nil {
		return nil, fmt.Errorf("make a Kubernetes client: %w", err)
	}
	path, err := programs.Path(programs.Helm())
	if err != nil {
		return nil, err
	}
	env := slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "HELM_") })
	return &Cluster{
		Config: r.Config, Client: client,
		helm:     program{path: path, arguments: []string{"--kube-context", r.Context}, env: append(env, helmHome(r.Home)...)},
		image:    r.Arguments,
		shoppers: func(host string) *Shoppers { return ShoppersAt(r.Router, host) },
	}, nil
}

// helmHome returns the variables that keep helm's own files in a directory.
func helmHome(dir string) []string {
	return []string{"HELM_CACHE_HOME=" + dir, "HELM_CONFIG_HOME=" + dir, "HELM_DATA_HOME=" + dir}
}

// Helm runs the helm program as the cluster's admin and returns its output.
func (c *Cluster) Helm(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, c.helm.path, append(slices.Clone(args), c.helm.arguments...)...)
	cmd.Env = c.helm.env
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("helm %s: %w\n%s", strings.Join(args, " "), errors.Join(ctx.Err(), err), errOut.String())
	}
	return out.String(), nil
}

// InConfigMaps returns the cluster with a helm that stores releases in ConfigMaps.
func (c *Cluster) InConfigMaps() *Cluster {
	other := *c
	other.helm.env = append(slices.Clone(c.helm.env), "HELM_DRIVER=configmap")
	return &other
}

// repository is the checkout: programs.Build puts programs into its tests/.bin.
func (c *Cluster) repository() string {
	return filepath.Join(filepath.Dir(c.helm.path), "..", "..")
}

// Charts is the directory of this repository's charts.
func (c *Cluster) Charts() string { return filepath.Join(c.repository(), "charts") }

// Chart is the path of the storefront's chart.
func (c *Cluster) Chart() string { return filepath.Join(c.Charts(), "canary-demo") }

// ChartArguments are helm's arguments for the chart to run the storefront of this
// repository. They come before all other values.
func (c *Cluster) ChartArguments() []string {
	return append([]string{"--values", filepath.Join(c.Chart(), "values-storefront.yaml")}, c.image...)
}

// HelmPath is the path of the helm program, for users of an open sandbox.
func (c *Cluster) HelmPath() string { return c.helm.path }
