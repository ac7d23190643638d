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

	"github.com/upcommerce/backout/tests/env/programs"
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

	paths paths
}

// StorefrontImage is the repository of the exercise's image, of any tag.
const StorefrontImage = "uonyeka/canary-demo"

// BackoutImage is the repository of backout's own image.
const BackoutImage = "backout"

// Open builds missing programs and opens a sandbox, which the caller closes. It
// installs nothing. A nil progress is silent. The images in gone, with their tags, are
// not in any registry.
func Open(ctx context.Context, progress func(string), gone ...string) (*Stage, error) {
	p, err := build(ctx, progress, append(first(), Later()...))
	if err != nil {
		return nil, err
	}
	return open(ctx, progress, p, gone...)
}

// OpenFirst is Open without the programs that an installed storefront does not need:
// the caller builds Later before it calls Backout, Alertmanager or Prometheus. No pod can
// run backout.
func OpenFirst(ctx context.Context, progress func(string)) (*Stage, error) {
	p, err := build(ctx, progress, first())
	if err != nil {
		return nil, err
	}
	return open(ctx, progress, p)
}

func open(ctx context.Context, progress func(string), p paths, gone ...string) (*Stage, error) {
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
	p, err := build(t.Context(), func(text string) { t.Log(text) }, append(first(), Later()...))
	if err != nil {
		t.Fatal(err)
	}
	st, err := newStage(sandbox.StartWith(t, sandbox.Options{Images: p.images(), Unpullable: gone}), p)
	if err != nil {
		t.Fatal(err)
	}
	return st
}

func newStage(sb *sandbox.Sandbox, p paths) (*Stage, error) {
	client, err := kubernetes.NewForConfig(sb.RESTConfig())
	if err != nil {
		return nil, fmt.Errorf("make a Kubernetes client: %w", err)
	}
	return &Stage{Sandbox: sb, Client: client, paths: p}, nil
}

// first are the programs that an installed storefront needs.
func first() []programs.Binary {
	return []programs.Binary{programs.Sandbox(), programs.Storefront(), programs.Helm()}
}

// Later are the programs that OpenFirst does not build.
func Later() []programs.Binary {
	return []programs.Binary{programs.Prometheus(), programs.Backout(), programs.Alertmanager()}
}

// paths are the paths of the programs that a stage runs.
type paths struct {
	helm, backout, storefront string
	// pods says that pods may run backout.
	pods bool
}

// build builds missing programs, including those that a sandbox builds on first use:
// the time limits of a story do not allow for minutes of compiling.
func build(ctx context.Context, progress func(string), all []programs.Binary) (paths, error) {
	built := map[string]bool{}
	for _, b := range all {
		if _, err := programs.Build(ctx, b, progress); err != nil {
			return paths{}, err
		}
		built[b.Name] = true
	}
	p := paths{pods: built[programs.Backout().Name]}
	for path, b := range map[*string]programs.Binary{
		&p.helm: programs.Helm(), &p.backout: programs.Backout(), &p.storefront: programs.Storefront(),
	} {
		var err error
		if *path, err = programs.Path(b); err != nil {
			return paths{}, err
		}
	}
	return p, nil
}

func (p paths) images() map[string]string {
	images := map[string]string{StorefrontImage: p.storefront}
	if p.pods {
		images[BackoutImage] = p.backout
	}
	return images
}

// repository is the checkout: Build puts programs into its tests/.bin.
func (p paths) repository() string { return filepath.Join(filepath.Dir(p.helm), "..", "..") }

// Helm runs the helm program as the cluster's admin and returns its output.
func (s *Stage) Helm(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, s.paths.helm, args...)
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
	return filepath.Join(s.paths.repository(), "charts", "canary-demo")
}

// ChartArguments are helm's arguments for the chart to run the storefront of this
// repository. They come before all other values.
func (s *Stage) ChartArguments() []string {
	return []string{
		"--values", filepath.Join(s.Chart(), "values-storefront.yaml"), "--set-string", "image.repository=" + StorefrontImage,
	}
}

// HelmPath is the path of the helm program, for users of an open sandbox.
func (s *Stage) HelmPath() string { return s.paths.helm }

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
