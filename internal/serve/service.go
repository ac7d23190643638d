package serve

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"k8s.io/client-go/kubernetes"

	"github.com/upcommerce/backout/handler"
	"github.com/upcommerce/backout/internal/version"
	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/engine"
	"github.com/upcommerce/backout/rollback/helm"
	"github.com/upcommerce/backout/rollback/ledger"
	"github.com/upcommerce/backout/rollback/notify"
	"github.com/upcommerce/backout/rollback/prom"
	"github.com/upcommerce/backout/rollback/report"
	"github.com/upcommerce/backout/rollback/traffic"
)

// service is the connected parts of one running backout.
type service struct {
	config   config
	cluster  Cluster
	accounts accounts
	// elsewhere are those of the targets that other installations serve. unmarked says that it was
	// not possible to find out about all of them yet. serveTargets sets marks.
	elsewhere elsewhere
	marks     *marks
	unmarked  bool
	// found are those that markAgain has found since. They are read once serve has returned.
	found   elsewhere
	leftOut *prometheus.GaugeVec
	client  kubernetes.Interface
	// itself is a client that never works as the account of a target.
	itself   kubernetes.Interface
	replica  string
	registry *prometheus.Registry
	board    *report.Board
	log      *slog.Logger

	lease    *ledger.Lease
	keys     *ledger.Keys
	records  *ledger.Ledger
	releases *helm.Client
	router   *traffic.Router
	weights  *traffic.Gauge
	notifier *notify.Notifier
	pauses   *ledger.PauseGauge
	// prometheus and grafana are nil if no server of them is configured.
	prometheus *prom.Client
	grafana    *prom.Grafana
	engine     *engine.Engine
	server     *handler.Server

	// answered is closed once the API server has answered, and the keys of records are known;
	// asked once it was asked then which installations serve the targets.
	answered, asked chan struct{}
}

// newService connects the parts. They do not listen, work or send requests yet.
func newService(c config, in Cluster, log *slog.Logger) (*service, error) {
	registry := newRegistry()
	as := accounts{own: in.Namespace, names: c.TargetAccounts}
	itself := boundResponses(newAPIRequests(registry).count(in.Config))
	own, err := kubernetes.NewForConfig(helm.Typed(itself))
	if err != nil {
		return nil, fmt.Errorf("make a Kubernetes client: %w", err)
	}
	in.Config = as.impersonate(itself)
	client, err := kubernetes.NewForConfig(helm.Typed(in.Config))
	if err != nil {
		return nil, fmt.Errorf("make a Kubernetes client: %w", err)
	}
	s := &service{
		config: c, cluster: in, accounts: as, client: client, replica: replicaName(), registry: registry,
		board: report.NewBoard(), log: log, answered: make(chan struct{}), asked: make(chan struct{}),
		itself: own, keys: ledger.NewKeys(own, in.Namespace, c.RecordKeys, log),
	}
	s.leftOut = newLeftOut()
	registry.MustRegister(report.NewCollector(s.board), s.leftOut)
	for _, connect := range []func() error{
		s.connectLedger, s.connectHelm, s.connectRoutes, s.connectNotifier, s.connectEngine, s.connectServer,
	} {
		if err := connect(); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// newRegistry returns a registry with the metrics of Go, of the process and of the build.
func newRegistry() *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		newBuildInfo(version.Current()),
	)
	return r
}

// newBuildInfo returns a gauge whose labels identify the build.
func newBuildInfo(b version.Build) prometheus.Collector {
	info := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "backout_build_info",
		Help: "Version, commit and Go version of the running program. Always 1.",
	}, []string{"version", "commit", "goversion"})
	info.WithLabelValues(b.Version, b.Commit, b.Go).Set(1)
	return info
}

// connectLedger connects the lease and the records.
func (s *service) connectLedger() (err error) {
	s.records = ledger.New(ledger.Options{
		Client: s.client, Namespaces: s.config.Policy.Namespaces(), Own: s.cluster.Namespace, Keys: s.keys, TrackLabel: s.config.Policy.Track.Option(),
		Gone: func(k rollback.Key, revision int) {
			s.board.DeleteRecord(k, revision)
			s.engine.OnRecordGone(k, revision)
		},
		Summary: report.Summary, Registerer: s.registry, Log: s.log,
	})
	s.lease, err = ledger.NewLease(ledger.LeaseOptions{
		Client: s.client, Namespace: s.cluster.Namespace, Identity: s.replica, Config: s.config.Lease,
		Registerer: s.registry, Log: s.log,
	})
	if err == nil {
		s.pauses = ledger.NewPauseGauge(s.records, s.config.Policy.Namespaces(), s.lease.Held, s.registry)
	}
	return err
}

func (s *service) connectHelm() (err error) {
	storages, err := s.config.Helm.Storages()
	if err != nil {
		return err
	}
	s.releases, err = helm.New(helm.Options{
		Config: s.cluster.Config, Storages: storages, Track: s.config.Policy.Track, User: s.accounts.user, Fence: s.lease.Held, Registerer: s.registry, Log: s.log,
		Changed: func(k rollback.Key) { s.weights.Soon(k.Namespace) },
	})
	return err
}

// connectRoutes connects what writes the routes' weights, and what measures them.
func (s *service) connectRoutes() (err error) {
	s.router, err = traffic.New(traffic.Options{Config: s.cluster.Config, Track: s.config.Policy.Track, Fence: s.lease.Held})
	if err != nil {
		return err
	}
	s.weights, err = traffic.NewGauge(traffic.GaugeOptions{
		Config: s.cluster.Config, Namespaces: s.config.Policy.Namespaces(), Allows: s.config.Policy.Allows,
		Track: s.config.Policy.Track, Registerer: s.registry, Log: s.log, Revisions: s.releases.Followed,
		Show: func(namespace string, releases []rollback.GuardedRelease) {
			s.board.SetReleases(namespace, releases)
			s.engine.OnReleases(namespace, releases)
		},
		Stray: func(namespace string, routes []string) { s.engine.OnStrayMarks(namespace, routes) },
	})
	return err
}

func (s *service) connectNotifier() (err error) {
	s.notifier, err = notify.New(notify.Options{
		Config: s.config.Notify, Cluster: s.config.Policy.Cluster, StormWindow: s.config.Policy.StormWindow,
		Ledger: s.records, Client: s.client, Manifests: s.releases, Instance: s.replica, Leads: s.lease.Held,
		Registerer: s.registry, Log: s.log,
	})
	return err
}

// connectEngine connects the engine to the parts before it.
func (s *service) connectEngine() error {
	options := engine.Options{
		Releases: s.releases, Traffic: s.router, Ledger: s.records, Notifier: s.notifier, Policy: s.config.Policy,
		Leads: s.lease.Held, Board: s.board, Registerer: s.registry, Log: s.log,
		OptedIn: func() int { return s.releases.Count(s.config.Policy.Allows) },
	}
	if err := s.connectEvaluators(&options); err != nil {
		return err
	}
	var err error
	s.engine, err = engine.New(options)
	return err
}

func (s *service) connectServer() (err error) {
	s.server, err = handler.New(handler.Options{
		Config: s.config.HTTP, Receiver: s.engine, Reader: s.records, Allows: s.config.Policy.Allows, Board: s.board, Mode: s.config.Policy.Mode,
		Ready: s.ready, Problems: s.problems, OpsAccess: newReviews(s.itself).may, Registry: s.registry, Log: s.log,
	})
	return err
}

// ready returns nil if the API server answers.
func (s *service) ready(ctx context.Context) error {
	select {
	case <-s.answered:
		return s.client.Discovery().RESTClient().Get().AbsPath("/version").Do(ctx).Error()
	default:
		return fmt.Errorf("the API server %s has not answered yet, or Secret %s/%s has no keys for records; the log says which",
			s.cluster.Config.Host, s.cluster.Namespace, s.config.RecordKeys)
	}
}

// replicaName names this process in the Lease and in Events. In a cluster it is the
// pod's name, so that a restarted container resumes its lease at once; elsewhere several
// processes may run on one host.
func replicaName() string {
	host, err := os.Hostname()
	if err != nil {
		host = "backout"
	}
	if _, inside := os.LookupEnv("KUBERNETES_SERVICE_HOST"); inside {
		return host
	}
	return fmt.Sprintf("%s-%d-%d", host, os.Getpid(), time.Now().UnixNano())
}
