package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"k8s.io/client-go/kubernetes"

	"github.com/upcommerce/backout/handler"
	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/helm"
	"github.com/upcommerce/backout/rollback/ledger"
	"github.com/upcommerce/backout/rollback/notify"
	"github.com/upcommerce/backout/rollback/prom"
	"github.com/upcommerce/backout/rollback/traffic"
)

// service is all parts of one running backout.
type service struct {
	config   config
	host     string
	releases *helm.Client
	records  *ledger.Ledger
	lease    *ledger.Lease
	engine   *rollback.Engine
	teller   *notify.Teller
	weights  *traffic.Gauge
	server   *handler.Server
	registry *prometheus.Registry
	log      *slog.Logger

	// warm is closed once the API server has answered.
	warm chan struct{}
}

// newRegistry returns one with what Go and the process tell of themselves.
func newRegistry() *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

// newService wires the parts; nothing listens or works yet, and nobody is asked.
func newService(c config, in cluster, log *slog.Logger) (*service, error) {
	registry := newRegistry()
	in.config = newAPIRequests(registry).counted(in.config)
	clientset, err := kubernetes.NewForConfig(helm.Typed(in.config))
	if err != nil {
		return nil, fmt.Errorf("make a Kubernetes client: %w", err)
	}
	s := &service{config: c, host: in.config.Host, registry: registry, log: log, warm: make(chan struct{})}
	s.lease, err = ledger.NewLease(ledger.LeaseOptions{
		Client: clientset, Namespace: in.namespace, Identity: identity(), Config: c.Lease, Registerer: registry, Log: log,
	})
	if err != nil {
		return nil, err
	}
	if s.releases, err = helm.New(helm.Options{Config: in.config, Fence: s.lease.Held, Log: log}); err != nil {
		return nil, err
	}
	router, err := traffic.New(traffic.Options{Config: in.config, Fence: s.lease.Held})
	if err != nil {
		return nil, err
	}
	board := rollback.NewBoard()
	s.weights, err = traffic.NewGauge(traffic.GaugeOptions{
		Config: in.config, Namespaces: c.Policy.Namespaces(), Allows: c.Policy.Allows, Registerer: registry, Show: board.Guard, Log: log,
	})
	if err != nil {
		return nil, err
	}
	s.records = ledger.New(ledger.Options{
		Client: clientset, Namespaces: c.Policy.Namespaces(), Own: in.namespace, Gone: board.Forget, Log: log,
	})
	s.teller, err = notify.New(notify.Options{
		Config: c.Notify, Cluster: c.Policy.Cluster, StormWindow: c.Policy.StormWindow, Ledger: s.records, Client: clientset,
		Manifests: s.releases, Instance: identity(), Leads: s.lease.Held, Registerer: registry, Log: log,
	})
	if err != nil {
		return nil, err
	}
	if s.engine, err = s.newEngine(router, board); err != nil {
		return nil, err
	}
	s.server, err = handler.New(handler.Options{
		Config: c.HTTP, Receiver: s.engine, Reader: s.records, Board: board, Mode: c.Policy.Mode, Registry: registry, Log: log,
		Ready: func(ctx context.Context) error { return s.ready(ctx, clientset) },
	})
	return s, err
}

// newEngine wires the engine to the parts that are there already.
func (s *service) newEngine(router *traffic.Router, board *rollback.Board) (*rollback.Engine, error) {
	options := rollback.Options{
		Releases: s.releases, Traffic: router, Ledger: s.records, Reporter: s.teller, Policy: s.config.Policy,
		Leads: s.lease.Held, Board: board, Registerer: s.registry, Log: s.log,
	}
	if len(s.config.Prometheus.URLs) > 0 {
		var err error
		if options.Prometheus, err = prom.New(prom.Options{Config: s.config.Prometheus}); err != nil {
			return nil, err
		}
	}
	return rollback.New(options)
}

// ready returns nil if the API server answers.
func (s *service) ready(ctx context.Context, client kubernetes.Interface) error {
	select {
	case <-s.warm:
		return client.Discovery().RESTClient().Get().AbsPath("/version").Do(ctx).Error()
	default:
		return fmt.Errorf("the API server %s has not answered yet", s.host)
	}
}

// identity names this replica. In a cluster it is the pod's name, so that a
// container that is started again goes on with the lease at once; elsewhere several
// processes may run on one host.
func identity() string {
	host, err := os.Hostname()
	if err != nil {
		host = "backout"
	}
	if _, inside := os.LookupEnv("KUBERNETES_SERVICE_HOST"); inside {
		return host
	}
	return fmt.Sprintf("%s-%d-%d", host, os.Getpid(), time.Now().UnixNano())
}

// serve listens and works until ctx ends. Then it first stops listening, so that
// whatever was answered 2xx is stored, and gives the steps in hand the time that
// is left of the grace period. What is not finished then stands in its record for
// the next leader. When the lease is lost it returns an error at once.
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
		"policy", s.config.Policy, "prometheus", s.config.Prometheus, "http", s.config.HTTP, "notify", s.config.Notify)
	if len(s.config.Policy.Releases) == 0 {
		s.log.WarnContext(ctx, "no release is opted in: every alert will be refused; set BACKOUT_RELEASES")
	}
	served := make(chan error, 1)
	go func() { served <- s.server.Serve(webhook, ops) }()

	work, stopWork := context.WithCancel(context.WithoutCancel(ctx))
	defer stopWork()
	lead, stopLead := context.WithCancel(context.WithoutCancel(ctx))
	defer stopLead()
	worked := s.start(work)
	led := make(chan error, 1)
	go func() { led <- s.lead(lead) }()

	select {
	case err := <-served:
		return fmt.Errorf("serve: %w", err)
	case err := <-led:
		return fmt.Errorf("lead: %w; whatever was in hand is the next leader's", err)
	case <-ctx.Done():
	}
	s.log.InfoContext(work, "told to stop; finishing what is in hand", "duration", s.config.Grace)
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.config.Grace)
	defer cancel()
	err = s.server.Shutdown(grace)
	stopWork()
	if workErr := await(grace, worked); workErr != nil {
		return errors.Join(err, fmt.Errorf("finish what is in hand: %w; it stays in its record", workErr))
	}
	stopLead()
	return errors.Join(err, await(grace, led))
}

func await(ctx context.Context, done <-chan error) error {
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return errors.New("the grace period is over")
	}
}

// start works on what is stored, from when the API server has answered, until ctx
// ends.
func (s *service) start(ctx context.Context) <-chan error {
	worked := make(chan error, 1)
	go func() {
		s.warmUp(ctx)
		var watching sync.WaitGroup
		var errs [4]error
		watching.Go(func() { errs[0] = s.records.Follow(ctx, s.engine.Notice) })
		watching.Go(func() { errs[1] = s.weights.Run(ctx) })
		watching.Go(func() { errs[2] = s.teller.Run(ctx) })
		watching.Go(func() { errs[3] = s.releases.Follow(ctx, s.config.Policy.Namespaces(), s.config.Policy.Allows) })
		err := s.engine.Run(ctx)
		watching.Wait()
		worked <- errors.Join(err, errors.Join(errs[:]...))
	}()
	return worked
}

// lead competes for the lease and has the engine begin when it has it.
func (s *service) lead(ctx context.Context) error {
	select {
	case <-s.warm:
	case <-ctx.Done():
		return nil
	}
	return s.lease.Run(ctx, func(ctx context.Context) {
		s.engine.Lead()
		<-ctx.Done()
	})
}

// warmInterval is how often an API server that does not answer is asked again.
const warmInterval = time.Second

// warmUp waits until the API server has answered: a cluster that is just coming
// back needs no process that ends again and again.
func (s *service) warmUp(ctx context.Context) {
	for {
		err := s.releases.Warm(ctx)
		if err == nil {
			close(s.warm)
			return
		}
		if ctx.Err() != nil {
			return
		}
		s.log.ErrorContext(ctx, "the API server does not answer; is it the right one, and is it up?", "address", s.host, "error", err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(warmInterval):
		}
	}
}
