package exercise

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/prometheus/client_golang/api"
	promv1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/upcommerce/backout/tests/env/programs"
	"github.com/upcommerce/backout/tests/env/progress"
	"github.com/upcommerce/backout/tests/env/sandbox"
	"github.com/upcommerce/backout/tests/env/stage"
)

// host is the host name of the exercise's Ingress.
const host = "canary-demo.local"

// Find returns the ground that the environment names, and a function that closes it.
// Without UPCOMMERCE_URL it opens a sandbox. The variables are those of FromEnvironment.
func Find(ctx context.Context, bar *progress.Progress) (*Ground, func() error, error) {
	if os.Getenv("UPCOMMERCE_URL") != "" {
		g, err := FromEnvironment(ctx)
		return g, func() error { return nil }, err
	}
	if _, err := programs.Build(ctx, programs.KubeStateMetrics(), bar.Begin); err != nil {
		return nil, nil, err
	}
	st, err := stage.Open(ctx, bar.Begin, Unpullable())
	if err != nil {
		return nil, nil, err
	}
	g, err := OnSandbox(ctx, st, bar, Pace{Window: window})
	if err != nil {
		return nil, nil, errors.Join(err, st.Sandbox.Close())
	}
	return g, st.Sandbox.Close, nil
}

// Unpullable is the image that OnSandbox needs to be missing.
func Unpullable() string { return stage.StorefrontImage + ":" + NoImage }

// window is the original exercise's.
const window = 5 * time.Minute

// Pace says how long an exercise on a sandbox waits.
type Pace struct {
	// Window is the Ground's.
	Window time.Duration
	// KeepFiring is stage.Monitoring's.
	KeepFiring time.Duration
}

// OnSandbox starts backout and monitoring on a sandbox, and returns it as the ground of
// the exercise.
func OnSandbox(ctx context.Context, st *stage.Stage, bar *progress.Progress, pace Pace) (*Ground, error) {
	bar.Begin("starting backout and monitoring")
	env := stage.QueryPrometheus()
	looksBack := time.Minute + cmp.Or(pace.KeepFiring, time.Minute) + 5*time.Second
	maps.Copy(env, map[string]string{
		"BACKOUT_RELEASES": strings.Join(append(FaultNamespaces(), Namespace), "/*,") + "/*",
		// The exercise has two bad canaries of one release within minutes, and many releases
		// that are bad at once.
		"BACKOUT_COOLDOWN": "1s", "BACKOUT_STORM_RELEASES": "100",
		"BACKOUT_WINDOWS": fmt.Sprintf("CanaryErrorRatio:%[1]s,CanaryLatency:%[1]s,CanaryLatencyTail:%[1]s", looksBack),
		// It is the only replica, and is not restarted if it cannot renew its lease while the
		// machine is busy.
		"BACKOUT_LEASE_DURATION": "60s", "BACKOUT_LEASE_RENEW": "40s",
	})
	b, err := st.Backout(ctx, 0, env)
	if err != nil {
		return nil, err
	}
	am, err := st.Sandbox.Alertmanager(ctx, sandbox.AlertmanagerOptions{WebhookURL: b.Inside, TokenFile: b.TokenFile})
	if err != nil {
		return nil, err
	}
	metrics, err := st.Sandbox.KubeStateMetrics(ctx, sandbox.KubeStateMetricsOptions{})
	if err != nil {
		return nil, err
	}
	p, err := st.Prometheus(ctx, stage.Monitoring{
		Alertmanager: am, KubeStateMetrics: metrics, Thresholds: map[string]float64{"ready_seconds": ReadySeconds}, KeepFiring: pace.KeepFiring,
	})
	if err != nil {
		return nil, err
	}
	router, err := st.Sandbox.RouterURL(ctx)
	if err != nil {
		return nil, err
	}
	g := &Ground{
		Config: st.Sandbox.RESTConfig(), Helm: st.Helm, Chart: st.Chart(), Arguments: st.ChartArguments(),
		Shoppers: func() *stage.Shoppers { return stage.ShoppersAt(router, host) },
		Host:     host, Address: sandbox.InnerAddress, Scrape: time.Second, Window: pace.Window, LooksBack: looksBack,
		Ended:      b.Child.Done(),
		InParallel: func(ctx context.Context) ([]Seconds, error) { return MeasureFaults(ctx, st, p, bar) },
	}
	if err := g.connect(ctx, p.URL(), fmt.Sprintf("The sandbox, on %d processors", runtime.NumCPU())); err != nil {
		return nil, err
	}
	g.Environment = map[string]string{
		"KUBECONFIG": st.Sandbox.Kubeconfig(), "UPCOMMERCE_URL": router, "UPCOMMERCE_PROMETHEUS": p.URL(), "UPCOMMERCE_IMAGE": stage.StorefrontImage,
	}
	g.On = append(g.On, "The image "+stage.StorefrontImage+" is the storefront of this repository, under the original's name.")
	return g, nil
}

// FromEnvironment returns the cluster of KUBECONFIG. UPCOMMERCE_URL is the address of its
// router, such as "http://192.168.49.2", UPCOMMERCE_HOST the host name of the storefront's
// Ingress (canary-demo.local), UPCOMMERCE_PROMETHEUS Prometheus' address
// (http://localhost:9090), UPCOMMERCE_IMAGE the repository of the storefront's image with
// the tags v1, v2 and v3 (storefront), and UPCOMMERCE_ARGUMENTS further arguments of helm,
// separated by spaces.
func FromEnvironment(ctx context.Context) (*Ground, error) {
	where := os.Getenv("UPCOMMERCE_URL")
	router, err := url.Parse(where)
	if err != nil || router.Host == "" {
		return nil, fmt.Errorf("UPCOMMERCE_URL=%s is not an address; want the router's, such as http://192.168.49.2", where)
	}
	loading := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(clientcmd.NewDefaultClientConfigLoadingRules(), nil)
	config, err := loading.ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("read the kubeconfig: %w; set KUBECONFIG to its path", err)
	}
	chart, err := filepath.Abs(filepath.Join("..", "charts", "canary-demo"))
	if err != nil {
		return nil, err
	}
	name := cmp.Or(os.Getenv("UPCOMMERCE_HOST"), host)
	arguments := []string{
		"--values", filepath.Join(chart, "values-storefront.yaml"),
		"--set-string", "image.repository=" + cmp.Or(os.Getenv("UPCOMMERCE_IMAGE"), "storefront"),
	}
	g := &Ground{
		Config: config, Helm: helm, Chart: chart, Arguments: append(arguments, strings.Fields(os.Getenv("UPCOMMERCE_ARGUMENTS"))...),
		Shoppers: func() *stage.Shoppers { return stage.ShoppersAt(where, name) },
		Host:     name, Address: router.Hostname(), Scrape: 15 * time.Second, Window: window, LooksBack: 3 * time.Minute,
	}
	raw, err := loading.RawConfig()
	if err != nil {
		return nil, fmt.Errorf("read the kubeconfig: %w", err)
	}
	return g, g.connect(ctx, cmp.Or(os.Getenv("UPCOMMERCE_PROMETHEUS"), "http://localhost:9090"), "The cluster of the context "+raw.CurrentContext)
}

// helm runs the helm in PATH.
func helm(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "helm", args...)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("helm %s: %w\n%s", strings.Join(args, " "), err, errOut.String())
	}
	return out.String(), nil
}

// connect connects to Prometheus, and stores names and versions in On.
func (g *Ground) connect(ctx context.Context, prometheus, name string) error {
	client, err := api.NewClient(api.Config{Address: prometheus})
	if err != nil {
		return fmt.Errorf("make a client for Prometheus: %w", err)
	}
	g.Prometheus = promv1.NewAPI(client)
	build, err := g.Prometheus.Buildinfo(ctx)
	if err != nil {
		return fmt.Errorf("query Prometheus at %s for its version: %w; set UPCOMMERCE_PROMETHEUS to its address", prometheus, err)
	}
	discover, err := discovery.NewDiscoveryClientForConfig(g.Config)
	if err != nil {
		return fmt.Errorf("make a Kubernetes client: %w", err)
	}
	server, err := discover.ServerVersion()
	if err != nil {
		return fmt.Errorf("query the cluster for its version: %w", err)
	}
	helm, err := g.Helm(ctx, "version", "--short")
	if err != nil {
		return err
	}
	g.On = []string{name + "; Kubernetes " + server.GitVersion + ", Helm " + strings.TrimSpace(helm) + ", Prometheus " + build.Version + "."}
	return nil
}

// scraped returns the version of Alertmanager, which Prometheus scrapes.
func (g *Ground) scraped(ctx context.Context) []string {
	found, err := g.vector(ctx, "alertmanager_build_info")
	if err != nil || len(found) == 0 {
		return nil
	}
	return []string{"Alertmanager " + string(found[0].Metric["version"]) + "."}
}
