// Package stage sets up what a story needs on a sandbox: the storefront's
// release, installed by the real helm program, backout as a process of its own,
// and eyes on the API server. The demo and the scenarios play on it.
package stage

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"k8s.io/client-go/kubernetes"

	"github.com/upcommerce/backout/tests/sandbox"
)

// The exercise's names: the release canary-demo in the namespace canary-demo.
const (
	Namespace = "canary-demo"
	Release   = "canary-demo"
	// CanaryIngress carries the canary's weight in WeightAnnotation.
	CanaryIngress    = "canary-demo-canary"
	WeightAnnotation = "nginx.ingress.kubernetes.io/canary-weight"
)

// Stage is a sandbox with helm, backout and the storefront's chart at hand.
type Stage struct {
	Sandbox *sandbox.Sandbox
	Client  kubernetes.Interface

	helm, backout, chart string
}

// Open builds what is missing and returns a stage on the sandbox. It installs
// nothing. A nil progress is silent.
func Open(ctx context.Context, s *sandbox.Sandbox, progress func(string)) (*Stage, error) {
	client, err := kubernetes.NewForConfig(s.RESTConfig())
	if err != nil {
		return nil, fmt.Errorf("make a Kubernetes client: %w", err)
	}
	st := &Stage{Sandbox: s, Client: client}
	// helm is the program that people use, at the version that go.mod pins.
	helm := sandbox.Binary{Name: "helm", Module: "tests", Package: "helm.sh/helm/v3/cmd/helm", LDFlags: "-s -w"}
	if st.helm, err = sandbox.Build(ctx, helm, progress); err != nil {
		return nil, err
	}
	backout := sandbox.Binary{Name: "backout", Module: ".", Package: ".", LDFlags: "-s -w"}
	if st.backout, err = sandbox.Build(ctx, backout, progress); err != nil {
		return nil, err
	}
	// Build puts programs into tests/.bin of the checkout.
	st.chart = filepath.Join(filepath.Dir(st.backout), "..", "..", "charts", "canary-demo")
	return st, nil
}

// Helm runs the helm program as the cluster's admin and returns what it printed.
func (s *Stage) Helm(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, s.helm, args...)
	home := filepath.Join(s.Sandbox.Dir(), "helm")
	cmd.Env = []string{
		"KUBECONFIG=" + s.Sandbox.Kubeconfig(), "HOME=" + home, "PATH=" + os.Getenv("PATH"),
		"HELM_CACHE_HOME=" + home, "HELM_CONFIG_HOME=" + home, "HELM_DATA_HOME=" + home,
	}
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("helm %s: %w\n%s", strings.Join(args, " "), err, errOut.String())
	}
	return out.String(), nil
}

// HelmPath is the helm program, for people who look around.
func (s *Stage) HelmPath() string { return s.helm }

// Install installs the storefront as the release, or upgrades it to the given
// values, each as helm's --set takes it.
func (s *Stage) Install(ctx context.Context, release string, set ...string) error {
	args := []string{"upgrade", "--install", release, s.chart, "--namespace", Namespace, "--create-namespace"}
	for _, value := range set {
		args = append(args, "--set", value)
	}
	_, err := s.Helm(ctx, args...)
	return err
}

// Canary returns the values for a canary of the tag with that colour, in percent
// of the traffic.
func Canary(tag, colour string, percent int) []string {
	return []string{
		"canary.image.tag=" + tag, "config.canary.appColor=" + colour,
		fmt.Sprintf("canary.weight=%d", percent),
	}
}
