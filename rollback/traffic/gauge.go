package traffic

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/upcommerce/backout/rollback"
)

// Times of the gauge.
const (
	gaugeInterval = 30 * time.Second
	// namespaceTimeout limits the reading of one namespace.
	namespaceTimeout = 20 * time.Second
	// refusedInterval is how often a kind is asked for again that the cluster has
	// not, or that backout may not list.
	refusedInterval = 10 * time.Minute
	// staleLimit is how long a namespace that cannot be read keeps the weights that
	// were last seen.
	staleLimit = 5 * time.Minute
)

// GaugeOptions are the parts of a Gauge; all are required but Registerer and Log.
type GaugeOptions struct {
	// Config reaches the API server.
	Config *rest.Config
	// Namespaces are those of the opted-in releases, and Allows reports whether a
	// release is one.
	Namespaces []string
	Allows     func(rollback.Key) bool
	// Registerer takes the metric; nil registers it nowhere.
	Registerer prometheus.Registerer
	// Show is told of a namespace's opted-in releases whenever they were read, those
	// without a known route to a canary too; nil is told nothing.
	Show func(namespace string, releases []rollback.Guarded)
	// Log is slog.Default if nil.
	Log *slog.Logger
}

// Gauge shows the live weight of every opted-in release's canary as a metric,
// whether or not the release was ever accused. It only reads, so that every replica
// may run one. Whatever the number of releases, it asks for one list of each kind
// and namespace.
type Gauge struct {
	server     rest.Interface
	namespaces []string
	allows     func(rollback.Key) bool
	log        *slog.Logger
	weight     *prometheus.GaugeVec
	tell       func(namespace string, releases []rollback.Guarded)

	// shown and refused are Run's alone: what is shown of each namespace, and what is
	// not asked for before when.
	shown   map[string]shown
	refused map[refusal]time.Time
}

// shown is what is shown of one namespace: when it was last read, and whether it
// could not be since.
type shown struct {
	series   map[series]float64
	releases []rollback.Key
	at       time.Time
	failing  bool
}

// series are the labels of one series.
type series struct{ namespace, release, route string }

// NewGauge returns a Gauge. It asks nothing of the API server before Run.
func NewGauge(o GaugeOptions) (*Gauge, error) {
	// As a dynamic client would be: any kind, by its path.
	config := dynamic.ConfigFor(o.Config)
	config.GroupVersion = &schema.GroupVersion{}
	config.APIPath = "/"
	server, err := rest.RESTClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("make a Kubernetes client: %w", err)
	}
	g := &Gauge{
		server: server, namespaces: o.Namespaces, allows: o.Allows, log: o.Log, tell: o.Show,
		shown: make(map[string]shown), refused: make(map[refusal]time.Time),
		weight: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "backout_canary_weight",
			Help: "Share of a route's traffic that is meant for the canary of an opted-in release, as it is live, in percent. " +
				"What a rule on a header or cookie sends there comes on top of it. For a Deployment, which is the route where " +
				"a plain Service leads to both tracks: its share of the ready pods.",
		}, []string{"namespace", "release", "route"}),
	}
	if g.tell == nil {
		g.tell = func(string, []rollback.Guarded) {}
	}
	if g.log == nil {
		g.log = slog.Default()
	}
	if o.Registerer != nil {
		if err := o.Registerer.Register(g.weight); err != nil {
			return nil, fmt.Errorf("register the gauge of canary weights: %w", err)
		}
	}
	return g, nil
}

// Run reads the weights every 30 s until ctx ends, and returns nil then. It is
// called once. What cannot be read is logged, once until it can: the metric is for
// people to look at, and nothing waits for it.
func (g *Gauge) Run(ctx context.Context) error {
	for {
		for _, namespace := range g.namespaces {
			g.poll(ctx, namespace)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(gaugeInterval):
		}
	}
}

// poll brings the series of one namespace up to date.
func (g *Gauge) poll(ctx context.Context, namespace string) {
	limited, cancel := context.WithTimeout(ctx, namespaceTimeout)
	defer cancel()
	live, err := g.read(limited, namespace)
	was := g.shown[namespace]
	if ctx.Err() != nil {
		return
	}
	if err == nil {
		now := shown{at: time.Now()}
		now.series, now.releases = g.series(limited, namespace, live)
		g.show(namespace, now)
		g.tell(namespace, now.guarded())
		return
	}
	if !was.failing {
		g.log.WarnContext(ctx, "the canary weights of a namespace cannot be read; the metric keeps the last ones for a few minutes",
			"namespace", namespace, "error", err)
	}
	was.failing = true
	if time.Since(was.at) > staleLimit {
		was.series = nil
	}
	g.show(namespace, was)
}

// show sets what is to be shown of the namespace, and takes away what is not any
// more. A series that stays is never missing in between.
func (g *Gauge) show(namespace string, now shown) {
	for s := range g.shown[namespace].series {
		if _, ok := now.series[s]; !ok {
			g.weight.DeleteLabelValues(s.namespace, s.release, s.route)
		}
	}
	for s, percent := range now.series {
		g.weight.WithLabelValues(s.namespace, s.release, s.route).Set(percent)
	}
	g.shown[namespace] = now
}

// series returns the weights of the namespace's opted-in releases, and these. A
// route of which nobody knows which side is the canary has none.
func (g *Gauge) series(ctx context.Context, namespace string, live snapshot) (map[series]float64, []rollback.Key) {
	found := make(map[series]float64)
	var releases []rollback.Key
	mentions := live.mentions()
	for release, m := range live.releases(namespace) {
		k := rollback.Key{Namespace: namespace, Release: release}
		if !g.allows(k) {
			continue
		}
		releases = append(releases, k)
		r := &Router{objects: live.about(m, mentions)}
		percents, err := r.portions(ctx, k, m)
		if err != nil {
			g.log.DebugContext(ctx, "a route is not shown among the canary weights", "namespace", namespace, "release", release, "error", err)
		}
		for route, percent := range percents {
			found[series{namespace: namespace, release: release, route: route}] = percent
		}
	}
	return found, releases
}

// guarded returns the releases in order of their names, each with its routes in
// order of theirs.
func (s shown) guarded() []rollback.Guarded {
	shares := make(map[rollback.Key][]rollback.Share)
	for label, percent := range s.series {
		k := rollback.Key{Namespace: label.namespace, Release: label.release}
		shares[k] = append(shares[k], rollback.Share{Route: label.route, Percent: percent})
	}
	all := make([]rollback.Guarded, 0, len(s.releases))
	for _, k := range s.releases {
		slices.SortFunc(shares[k], func(a, b rollback.Share) int { return strings.Compare(a.Route, b.Route) })
		all = append(all, rollback.Guarded{Key: k, Routes: shares[k], Read: s.at})
	}
	slices.SortFunc(all, func(a, b rollback.Guarded) int { return strings.Compare(a.Release, b.Release) })
	return all
}

// portion is the canary's live share on one routing object, or on one of its rules.
type portion struct {
	// name is what a rollback.Weight calls it.
	name    string
	percent float64
}

// portionOf returns the share that part is of a total, in any unit. It is 0 where
// nobody gets anything.
func portionOf(name string, part, total float64) portion {
	if part <= 0 || total <= 0 {
		return portion{name: name}
	}
	return portion{name: name, percent: min(100*part/total, 100)}
}

// portions returns the canary's share on each of the release's routes, in percent by
// kind and name, together with the errors of what cannot be said. Routes that two
// API groups have under one kind and name are one, with the larger share.
func (r *Router) portions(ctx context.Context, k rollback.Key, m rollback.Manifest) (map[string]float64, error) {
	routes, err := r.routes(ctx, k, m)
	found, errs := make(map[string]float64), []error{err}
	for _, o := range routes {
		live, neighbours, err := r.stored(ctx, k, o)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		for _, p := range o.kind.router.portions(live, o.canary.on(live), neighbours) {
			route := o.kind.name + "/" + p.name
			found[route] = max(found[route], p.percent)
		}
	}
	return found, errors.Join(errs...)
}
