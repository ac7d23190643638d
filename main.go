// Command backout takes a bad canary out of the traffic and rolls its Helm
// release back, on an alert of Alertmanager's.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"syscall"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/sethvargo/go-envconfig"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/upcommerce/backout/handler"
	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/helm"
	"github.com/upcommerce/backout/rollback/ledger"
	"github.com/upcommerce/backout/rollback/traffic"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, envconfig.OsLookuper(), os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "backout:", err)
		os.Exit(1)
	}
}

// run serves until ctx ends, then finishes what is in hand. It logs to out.
func run(ctx context.Context, env envconfig.Lookuper, out io.Writer) error {
	c, err := loadConfig(ctx, env)
	if err != nil {
		return fmt.Errorf("the environment is not right:\n%w", err)
	}
	log := newLogger(c.Log, out)
	cluster, err := clusterConfig()
	if err != nil {
		return err
	}
	s, err := newService(ctx, c, cluster, log)
	if err != nil {
		return err
	}
	return s.serve(ctx)
}

func newLogger(c logConfig, out io.Writer) *slog.Logger {
	options := &slog.HandlerOptions{Level: c.Level}
	if c.Format == "text" {
		return slog.New(slog.NewTextHandler(out, options))
	}
	return slog.New(slog.NewJSONHandler(out, options))
}

// clusterConfig finds the cluster as kubectl does: KUBECONFIG, then the default
// file, then the pod's service account.
func clusterConfig() (*rest.Config, error) {
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(
		clientcmd.NewDefaultClientConfigLoadingRules(), nil).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("find the cluster: %w; set KUBECONFIG, or run in a pod with a service account", err)
	}
	// The API server has its own fairness; a client-side limit would only delay
	// a shed.
	config.QPS = -1
	config.UserAgent = "backout"
	return config, nil
}

// service is all parts of one running backout.
type service struct {
	config config
	engine *rollback.Engine
	server *handler.Server
	log    *slog.Logger
}

// newService wires the parts; nothing listens or works yet.
func newService(ctx context.Context, c config, cluster *rest.Config, log *slog.Logger) (*service, error) {
	clientset, err := kubernetes.NewForConfig(cluster)
	if err != nil {
		return nil, fmt.Errorf("make a Kubernetes client: %w", err)
	}
	releases, err := helm.New(helm.Options{Config: cluster, Log: log})
	if err != nil {
		return nil, err
	}
	if err := releases.Warm(ctx); err != nil {
		return nil, fmt.Errorf("%w; is %s the right API server, and is it up?", err, cluster.Host)
	}
	router, err := traffic.New(cluster)
	if err != nil {
		return nil, err
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	records := ledger.New(clientset, c.Policy.Namespaces())
	engine, err := rollback.New(rollback.Options{
		Releases: releases, Traffic: router, Ledger: records, Policy: c.Policy,
		Registerer: registry, Log: log,
	})
	if err != nil {
		return nil, err
	}
	server, err := handler.New(handler.Options{
		Config: c.HTTP, Receiver: engine, Reader: records, Registry: registry, Log: log,
		Ready: func(ctx context.Context) error {
			return clientset.Discovery().RESTClient().Get().AbsPath("/version").Do(ctx).Error()
		},
	})
	if err != nil {
		return nil, err
	}
	return &service{config: c, engine: engine, server: server, log: log}, nil
}

// serve listens and works until ctx ends. Then it first stops listening, so that
// whatever was answered 2xx is stored, and gives the steps in hand the time that
// is left of the grace period. What is not finished then stands in its record for
// the next process.
func (s *service) serve(ctx context.Context) error {
	var listen net.ListenConfig
	webhook, err := listen.Listen(ctx, "tcp", s.config.HTTP.Listen)
	if err != nil {
		return fmt.Errorf("listen for the webhook: %w; is BACKOUT_LISTEN in use?", err)
	}
	ops, err := listen.Listen(ctx, "tcp", s.config.HTTP.OpsListen)
	if err != nil {
		return errors.Join(fmt.Errorf("listen for health and metrics: %w; is BACKOUT_OPS_LISTEN in use?", err), webhook.Close())
	}
	s.log.InfoContext(ctx, "backout serves", "address", webhook.Addr().String(), "ops", ops.Addr().String(),
		"policy", s.config.Policy, "http", s.config.HTTP)
	if len(s.config.Policy.Releases) == 0 {
		s.log.WarnContext(ctx, "no release is opted in: every alert will be refused; set BACKOUT_RELEASES")
	}

	working, stopWorking := context.WithCancel(context.WithoutCancel(ctx))
	defer stopWorking()
	worked := make(chan error, 1)
	go func() { worked <- s.engine.Run(working) }()
	served := make(chan error, 1)
	go func() { served <- s.server.Serve(webhook, ops) }()

	select {
	case err := <-served:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	s.log.InfoContext(working, "told to stop; finishing what is in hand", "duration", s.config.Grace)
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.config.Grace)
	defer cancel()
	err = s.server.Shutdown(grace)
	stopWorking()
	select {
	case workErr := <-worked:
		return errors.Join(err, workErr)
	case <-grace.Done():
		return errors.Join(err, errors.New("the grace period is over: a step is unfinished and stays in its record"))
	}
}
