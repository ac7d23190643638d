// Package stage sets up a sandbox for the demo, the exercise and the scenarios: the
// storefront's release, installed by the real helm program, backout as a process of its
// own, and watches at the API server.
package stage

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
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
	*Cluster
	Sandbox *sandbox.Sandbox

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
	home := filepath.Join(sb.Dir(), "helm")
	return &Stage{Sandbox: sb, paths: p, Cluster: &Cluster{
		Config: sb.RESTConfig(), Client: client,
		helm:  program{path: p.helm, env: append(helmHome(home), "KUBECONFIG="+sb.Kubeconfig(), "HOME="+home, "PATH="+os.Getenv("PATH"))},
		image: []string{"--set-string", "image.repository=" + StorefrontImage},
		shoppers: func(host string) *Shoppers {
			return newShoppers("http://"+host, host, func(ctx context.Context, _, _ string) (net.Conn, error) {
				// Every host is served by the router.
				return sb.Dial(ctx, routerAddress)
			})
		},
	}}, nil
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
