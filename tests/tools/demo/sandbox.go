package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	promv1 "github.com/prometheus/client_golang/api/prometheus/v1"

	"github.com/upcommerce/backout/tests/env/programs"
	"github.com/upcommerce/backout/tests/env/progress"
	"github.com/upcommerce/backout/tests/env/sandbox"
	"github.com/upcommerce/backout/tests/env/stage"
)

// playLimit bounds the story itself, without the time for compiling and opening.
const playLimit = 3 * time.Minute

// onSandbox plays the story on a sandbox. While the storefront is installed, it compiles
// backout and its monitoring, if they have changed.
//
// With KEEP=1 in the environment the sandbox stays open until Ctrl-C. With
// SCREENSHOTS=FOLDER, Chromium takes pictures of the status page at the end.
func onSandbox(ctx context.Context, bar *progress.Progress) (err error) {
	g := &sandboxGround{bar: bar, out: os.Stdout, pictures: os.Getenv("SCREENSHOTS")}
	later := stage.Later()
	if g.pictures != "" {
		later = append(later, programs.KubeStateMetrics())
	}
	compiling, interrupt := context.WithCancel(ctx)
	g.rest = compile(compiling, later)
	defer func() { interrupt(); <-g.rest.done }()
	if g.stage, err = stage.OpenFirst(ctx, bar.Begin); err != nil {
		return err
	}
	defer func() {
		if left := g.stage.Sandbox.Close(); left != nil {
			// Not joined: main must not report that nothing is left behind.
			err = fmt.Errorf("close the sandbox: %w", left)
		}
	}()
	s := scene{ground: g, shop: g.stage.Usual(), bar: bar, out: g.out, left: playLimit}
	failed := s.play(ctx)
	bar.End()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	s.show(ctx)
	if g.pictures != "" && failed == nil {
		// The dashboards first: they show the minutes until now.
		if failed = g.dashboards(ctx, g.pictures); failed == nil {
			failed = g.screenshots(ctx, g.pictures)
		}
	}
	if os.Getenv("KEEP") != "" {
		g.explain(ctx)
		select {
		case <-ctx.Done():
		case <-g.stage.Sandbox.Done():
			failed = errors.Join(failed, errors.New("the control plane ended by itself"))
		}
	}
	return failed
}

// sandboxGround is a sandbox, with backout, Prometheus and Alertmanager next to the cluster.
type sandboxGround struct {
	stage *stage.Stage
	rest  *compilation
	bar   *progress.Progress
	out   io.Writer
	// pictures is the folder for pictures, "" if none are taken.
	pictures string

	backout      *stage.Backout
	alertmanager *sandbox.Alertmanager
	prometheus   *sandbox.Prometheus
	// began is when Prometheus was started.
	began time.Time
}

// prepare returns when the rest is compiled.
func (g *sandboxGround) prepare(ctx context.Context) error { return g.rest.await(ctx, g.bar) }

func (g *sandboxGround) monitor(ctx context.Context) (err error) {
	if g.backout, err = g.stage.Backout(ctx, 0, stage.QueryPrometheus()); err != nil {
		return err
	}
	g.alertmanager, err = g.stage.Sandbox.Alertmanager(ctx, sandbox.AlertmanagerOptions{
		WebhookURL: g.backout.Inside, TokenFile: g.backout.TokenFile,
	})
	if err != nil {
		return err
	}
	var metrics *sandbox.KubeStateMetrics
	if g.pictures != "" {
		if metrics, err = g.stage.Sandbox.KubeStateMetrics(ctx, sandbox.KubeStateMetricsOptions{}); err != nil {
			return err
		}
	}
	g.began = time.Now()
	g.prometheus, err = g.stage.Prometheus(ctx, stage.Monitoring{
		Alertmanager: g.alertmanager, KubeStateMetrics: metrics, KeepFiring: keepFiring,
	})
	return err
}

func (g *sandboxGround) alerts(ctx context.Context) ([]promv1.Alert, error) {
	return g.prometheus.Alerts(ctx)
}

func (g *sandboxGround) log(context.Context) string {
	text, err := os.ReadFile(g.backout.Child.Log())
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// explain prints how to use the open sandbox.
func (g *sandboxGround) explain(ctx context.Context) {
	fmt.Fprintf(g.out, `
The sandbox stays open until Ctrl-C. In another terminal:
  export KUBECONFIG=%s
  kubectl -n %s get pods,ingresses,configmaps
  %s history %s -n %s
`, g.stage.Sandbox.Kubeconfig(), stage.Namespace, g.stage.HelmPath(), stage.Release, stage.Namespace)
	if router, err := g.stage.Sandbox.RouterURL(ctx); err == nil {
		// A browser resolves every name under localhost to this machine.
		fmt.Fprintf(g.out, "The storefront: %s\n", strings.Replace(router, "127.0.0.1", stage.Host, 1))
	}
	if g.backout != nil {
		fmt.Fprintf(g.out, "backout:        %s/api/v1/records and /metrics; its log: %s\n", g.backout.OpsURL(), g.backout.Child.Log())
	}
	if g.alertmanager != nil {
		fmt.Fprintf(g.out, "Alertmanager:   %s\n", g.alertmanager.URL())
	}
	if g.prometheus != nil {
		fmt.Fprintf(g.out, "Prometheus:     %s/api/v1/alerts (it has no web interface)\n", g.prometheus.URL())
	}
}
