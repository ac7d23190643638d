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
	"k8s.io/apimachinery/pkg/version"
	"k8s.io/client-go/rest"

	"github.com/upcommerce/backout/tests/env/progress"
	"github.com/upcommerce/backout/tests/env/stage"
)

const (
	// visitLimit bounds the story on a cluster that exists. Its nodes may have to pull the
	// images of Prometheus and Alertmanager.
	visitLimit = 10 * time.Minute
	// requestLimit bounds a request that has to be answered.
	requestLimit = 15 * time.Second
	// routerLag is how long its router may take to follow a weight: ingress-nginx reads
	// Ingresses every three seconds.
	routerLag = 5 * time.Second
)

// visit is the demo on a cluster that exists.
type visit struct {
	// context is a context of the kubeconfig, router the URL of the cluster's router, "" to
	// forward a port to ingress-nginx, gateway NAMESPACE/NAME of a Gateway, "" for Ingresses.
	context, router, gateway string
	// keep leaves the namespaces.
	keep bool
	out  io.Writer

	config  *rest.Config
	cluster *stage.Cluster
	// files is a directory for files that helm reads.
	files string
	bar   *progress.Progress
}

// play plays the story in namespaces of its own, and removes them. It writes nothing before
// it has printed what it is going to write and where.
func (v *visit) play(ctx context.Context, bar *progress.Progress) (err error) {
	v.bar = bar
	if v.files, err = os.MkdirTemp("", "backout-demo-"); err != nil {
		return fmt.Errorf("make a directory for helm: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(v.files)) }()
	if v.config, err = choose(v.context); err != nil {
		return err
	}
	server, err := v.reach(ctx)
	if err != nil {
		return err
	}
	closeRouter, err := v.findRouter(ctx)
	if err != nil {
		return err
	}
	defer closeRouter()
	v.cluster, err = stage.Reached(stage.Reach{
		Config: v.config, Context: v.context, Home: v.files, Router: v.router, Arguments: v.shopArguments(),
	})
	if err != nil {
		return err
	}
	v.introduce(server)
	old, err := leftovers(ctx, v.cluster.Client)
	if err != nil {
		return err
	}
	if len(old) > 0 {
		fmt.Fprintf(v.out, "From an earlier demo: %s. It is removed first.\n", names(old))
		bar.Begin("removing the namespaces of an earlier demo")
		if err := removeNamespaces(ctx, v.cluster.Client); err != nil {
			return err
		}
	}
	defer func() { err = v.leave(ctx, err) }()
	if err := makeNamespaces(ctx, v.cluster.Client); err != nil {
		return err
	}
	return v.tell(ctx)
}

// reach returns the version of the API server.
func (v *visit) reach(ctx context.Context) (*version.Info, error) {
	ctx, cancel := context.WithTimeout(ctx, requestLimit)
	defer cancel()
	server, err := serverVersion(ctx, v.config)
	if err != nil {
		return nil, fmt.Errorf("reach the API server of context %s at %s: %w; does `kubectl --context %s version` work?",
			v.context, v.config.Host, err, v.context)
	}
	return server, nil
}

// introduce prints the cluster, and what the demo makes and needs there.
func (v *visit) introduce(server *version.Info) {
	fmt.Fprintf(v.out, `
The demo runs on the cluster of context %s:
  API server  %s, Kubernetes %s
  namespaces  %s, made now and %s; nothing outside of them is written
  router      %s, which has to serve %s, for the host %s
  images      %s
              %s, which the nodes pull

`, v.context, v.config.Host, server.GitVersion, strings.Join(ownNamespaces(), " and "), v.end(), v.router, v.served(), shopHost,
		strings.ReplaceAll(v.loading(), "\n", "\n              "), strings.Join([]string{prometheusImage(), alertmanagerImage()}, " and "))
}

// end says what becomes of the namespaces.
func (v *visit) end() string {
	if v.keep {
		return "left there"
	}
	return "removed at the end"
}

// tell plays the story and shows its end.
func (v *visit) tell(ctx context.Context) error {
	playing, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	go v.watchImages(playing, stop)
	s := scene{ground: v, shop: v.cluster.Place(shopNamespace), bar: v.bar, out: v.out, left: visitLimit, lag: routerLag}
	failed := s.play(playing)
	v.bar.End()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if cause := context.Cause(playing); cause != nil {
		return cause
	}
	s.show(ctx)
	return failed
}

// prepare has nothing to wait for: the images are there.
func (v *visit) prepare(context.Context) error { return nil }

// alerts queries Prometheus through the API server.
func (v *visit) alerts(ctx context.Context) ([]promv1.Alert, error) {
	client, err := v.prometheus()
	if err != nil {
		return nil, err
	}
	result, err := client.Alerts(ctx)
	return result.Alerts, err
}

// leave removes the demo's namespaces, or says how to. It returns the error of the demo, or
// its own.
func (v *visit) leave(ctx context.Context, played error) error {
	if v.keep {
		fmt.Fprintf(v.out, "\nThe namespaces stay. To remove all that the demo has made:\n  %s\n", v.removal())
		if errors.Is(played, context.Canceled) {
			return errKept
		}
		return played
	}
	v.bar.Begin("removing the namespaces " + strings.Join(ownNamespaces(), " and "))
	err := removeNamespaces(context.WithoutCancel(ctx), v.cluster.Client)
	v.bar.End()
	if err != nil {
		// Not joined: main must not report that nothing is left behind.
		return fmt.Errorf("%w (with --context %s)", err, v.context)
	}
	return played
}

// removal is the command that removes the demo's namespaces.
func (v *visit) removal() string {
	command := "kubectl --context " + v.context + " delete namespace " + strings.Join(ownNamespaces(), " ")
	if path := os.Getenv("KUBECONFIG"); path != "" {
		command = "KUBECONFIG=" + path + " " + command
	}
	return command
}
