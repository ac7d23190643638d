// Package stage sets up a sandbox for the demo, the exercise and the scenarios: the
// storefront's release, installed by the real helm program, backout as a process of its
// own, and watches at the API server.
package stage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/client-go/kubernetes"

	"github.com/upcommerce/backout/tests/env/sandbox"
)

// The exercise's names: the release canary-demo in the namespace canary-demo.
const (
	Namespace = "canary-demo"
	Release   = "canary-demo"
	// CanaryIngress carries the canary's weight in WeightAnnotation.
	CanaryIngress = "canary-demo-canary"
	// CanaryService receives the canary's share from the router.
	CanaryService    = "canary-demo-canary"
	WeightAnnotation = "nginx.ingress.kubernetes.io/canary-weight"
)

// Stage is a sandbox with helm, backout and the storefront. Pods may use the images of
// the storefront and of backout, which are programs of this repository.
type Stage struct {
	Sandbox *sandbox.Sandbox
	Client  kubernetes.Interface

	programs programs
}

// StorefrontImage is the repository of the exercise's image, of any tag.
const StorefrontImage = "uonyeka/canary-demo"

// BackoutImage is the repository of backout's own image.
const BackoutImage = "backout"

// Open builds missing programs and opens a sandbox, which the caller closes. It
// installs nothing. A nil progress is silent. The images in gone, with their tags, are
// not in any registry.
func Open(ctx context.Context, progress func(string), gone ...string) (*Stage, error) {
	p, err := build(ctx, progress)
	if err != nil {
		return nil, err
	}
	sb, err := sandbox.Open(ctx, sandbox.Options{Progress: progress, Images: p.images(), Unpullable: gone})
	if err != nil {
		return nil, err
	}
	st, err := newStage(sb, p)
	if err != nil {
		return nil, errors.Join(err, sb.Close())
	}
	return st, nil
}

// Start is Open for tests: the sandbox is closed when the test ends.
func Start(t testing.TB, gone ...string) *Stage {
	t.Helper()
	p, err := build(t.Context(), func(text string) { t.Log(text) })
	if err != nil {
		t.Fatal(err)
	}
	st, err := newStage(sandbox.StartWith(t, sandbox.Options{Images: p.images(), Unpullable: gone}), p)
	if err != nil {
		t.Fatal(err)
	}
	return st
}

func newStage(sb *sandbox.Sandbox, p programs) (*Stage, error) {
	client, err := kubernetes.NewForConfig(sb.RESTConfig())
	if err != nil {
		return nil, fmt.Errorf("make a Kubernetes client: %w", err)
	}
	return &Stage{Sandbox: sb, Client: client, programs: p}, nil
}

// programs are the paths of the programs that a stage runs.
type programs struct{ helm, backout, storefront string }

// releaseTags are the build tags of the Makefile and the Dockerfile: they leave out
// gin's MessagePack, which is a twelfth of the program.
const releaseTags = "nomsgpack"

// build builds missing programs, including those that a sandbox builds on first use:
// the time limits of a story do not allow for minutes of compiling. helm is the released
// program, at the version that go.mod pins.
func build(ctx context.Context, progress func(string)) (p programs, err error) {
	for _, b := range sandbox.Programs() {
		if _, err := sandbox.Build(ctx, b, progress); err != nil {
			return p, err
		}
	}
	const stripped = "-s -w"
	for _, b := range []struct {
		path   *string
		binary sandbox.Binary
	}{
		{&p.helm, sandbox.Binary{Name: "helm", Module: "tests", Package: "helm.sh/helm/v3/cmd/helm", LDFlags: stripped}},
		{&p.backout, sandbox.Binary{Name: "backout", Module: ".", Package: ".", LDFlags: stripped, Tags: releaseTags}},
		{&p.storefront, sandbox.Binary{Name: "storefront", Module: ".", Package: "./app", LDFlags: stripped}},
	} {
		if *b.path, err = sandbox.Build(ctx, b.binary, progress); err != nil {
			return p, err
		}
	}
	return p, nil
}

func (p programs) images() map[string]string {
	return map[string]string{StorefrontImage: p.storefront, BackoutImage: p.backout}
}

// repository is the checkout: Build puts programs into its tests/.bin.
func (p programs) repository() string { return filepath.Join(filepath.Dir(p.backout), "..", "..") }

// Helm runs the helm program as the cluster's admin and returns its output.
func (s *Stage) Helm(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, s.programs.helm, args...)
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

// Chart is the path of the storefront's chart.
func (s *Stage) Chart() string {
	return filepath.Join(s.programs.repository(), "charts", "canary-demo")
}

// ChartArguments are helm's arguments for the chart to run the storefront of this
// repository. They come before all other values.
func (s *Stage) ChartArguments() []string {
	return []string{
		"--values", filepath.Join(s.Chart(), "values-storefront.yaml"), "--set-string", "image.repository=" + StorefrontImage,
	}
}

// HelmPath is the path of the helm program, for users of an open sandbox.
func (s *Stage) HelmPath() string { return s.programs.helm }

// Install installs the storefront as the release, or upgrades it, in the usual
// place.
func (s *Stage) Install(ctx context.Context, release string, values ...string) error {
	return s.usual().Install(ctx, release, values...)
}

// Canary returns the values for a canary of that tag and colour with that percentage of
// the traffic.
func Canary(tag, colour string, percent int) []string {
	return []string{
		"canary.image.tag=" + tag, "config.canary.appColor=" + colour,
		fmt.Sprintf(":canary.weight=%d", percent),
	}
}

// Failing returns the value that makes the canary fail that share of its
// requests, 0 to 1.
func Failing(share float64) string {
	return fmt.Sprintf("config.canary.env.FAULT_ERROR_SHARE=%g", share)
}

// AwaitRollout waits until every Deployment of the usual place is rolled out.
func (s *Stage) AwaitRollout(ctx context.Context) error { return s.usual().AwaitRollout(ctx) }
