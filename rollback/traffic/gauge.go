package traffic

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/client-go/rest"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/parallel"
)

// Times of the Gauge.
const (
	gaugeInterval = 30 * time.Second
	// namespaceTimeout limits the read of one namespace.
	namespaceTimeout = 20 * time.Second
	// staleLimit is how long a namespace that cannot be read keeps its last weights.
	staleLimit = 5 * time.Minute
)

// GaugeOptions are the parts of a Gauge; all but Registerer, Show and Log are required.
type GaugeOptions struct {
	// Config reaches the API server.
	Config *rest.Config
	// Namespaces are those of the opted-in releases, and Allows reports whether a release is
	// opted in.
	Namespaces []string
	Allows     func(rollback.Key) bool
	// Track says which pods are the canary's.
	Track rollback.Track
	// Registerer takes the metric; nil does not register it.
	Registerer prometheus.Registerer
	// Show receives a namespace's opted-in releases after each read, including those without
	// a known route to a canary; nil shows nothing.
	Show func(namespace string, releases []rollback.GuardedRelease)
	// Stray receives, after each read of a namespace, the objects that carry the mark of a shed
	// and lead to no canary of an opted-in release, by kind and name; nil receives nothing.
	Stray func(namespace string, routes []string)
	// Revisions returns what is known of a release's revisions, newest first, without a
	// request; with nil there are no metrics of revisions and workloads.
	Revisions func(k rollback.Key) []rollback.Revision
	// Log is slog.Default if nil.
	Log *slog.Logger
}

// Gauge reports the live weight of every opted-in release's canary as a metric, whether or
// not the release ever got a signal. It only reads, so that every replica may run one. It
// sends one list a kind and namespace, whatever the number of releases. From the same lists,
// and one watch of ReplicaSets a namespace, it shows which pods are of which revision.
type Gauge struct {
	reader     *snapshotReader
	kinds      registry
	track      rollback.Track
	namespaces []string
	allows     func(rollback.Key) bool
	log        *slog.Logger
	weight     *prometheus.GaugeVec
	report     func(namespace string, releases []rollback.GuardedRelease)
	stray      func(namespace string, routes []string)
	schedule   *schedule
	// info is nil without Revisions.
	info *workloadInfo

	// shown is what the metric shows of each namespace, and panicked are the releases over
	// whose routes the last read has panicked. Only Run uses them.
	shown    map[string]shown
	panicked map[rollback.Key]bool
}

// shown is what the metric shows of one namespace, when that was read, and whether a later
// read failed.
type shown struct {
	series   map[series]liveShare
	releases []rollback.Key
	at       time.Time
	failing  bool
}

// series are the labels of one series.
type series struct{ namespace, release, route string }

// NewGauge returns a Gauge. It sends no request to the API server before Run.
func NewGauge(o GaugeOptions) (*Gauge, error) {
	g := &Gauge{
		kinds: newRegistry(), track: o.Track, namespaces: o.Namespaces, allows: o.Allows, log: o.Log, report: o.Show, stray: o.Stray,
		shown: make(map[string]shown), panicked: make(map[rollback.Key]bool), schedule: newSchedule(),
		weight: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "backout_canary_weight",
			Help: "Share of a route's traffic that is meant for the canary of an opted-in release, as it is live, in percent. " +
				"Requests that a rule on a header or cookie sends there are not included. For a Deployment, which is the route where " +
				"a plain Service leads to both tracks: its share of the ready pods.",
		}, []string{"namespace", "release", "route"}),
	}
	if g.report == nil {
		g.report = func(string, []rollback.GuardedRelease) {}
	}
	if g.stray == nil {
		g.stray = func(string, []string) {}
	}
	if g.log == nil {
		g.log = slog.Default()
	}
	var err error
	if g.reader, err = newSnapshotReader(o.Config, g.kinds, g.log); err != nil {
		return nil, err
	}
	if o.Revisions != nil {
		o.Log = g.log
		g.info = newWorkloadInfo(o, g.reader.server, g.Soon)
	}
	return g, g.register(o.Registerer)
}

// register registers the metrics, unless r is nil.
func (g *Gauge) register(r prometheus.Registerer) error {
	if r == nil {
		return nil
	}
	if err := r.Register(g.weight); err != nil {
		return fmt.Errorf("register the gauge of canary weights: %w", err)
	}
	if g.info == nil {
		return nil
	}
	if err := r.Register(g.info); err != nil {
		return fmt.Errorf("register the metrics of workloads: %w", err)
	}
	return nil
}

// Soon makes Run read a namespace soon, and once more some seconds later: Helm has stored a
// revision there. It never blocks.
func (g *Gauge) Soon(namespace string) { g.schedule.soon(namespace) }

// Run reads the weights every 30 s until ctx ends, and then returns nil. It is called once.
// It logs a namespace that cannot be read, once for each outage: nothing but dashboards and
// alerts depends on the metric.
func (g *Gauge) Run(ctx context.Context) error {
	var following sync.WaitGroup
	defer following.Wait()
	if g.info != nil {
		following.Go(func() { g.info.run(ctx) })
	}
	g.schedule.add(g.namespaces)
	for ctx.Err() == nil {
		namespace, wait := g.schedule.next()
		if wait <= 0 {
			began := time.Now()
			g.poll(ctx, namespace)
			g.schedule.done(namespace, began)
			continue
		}
		select {
		case <-ctx.Done():
		case <-g.schedule.woken:
		case <-time.After(wait):
		}
	}
	return nil
}

// poll brings the series of one namespace up to date.
func (g *Gauge) poll(ctx context.Context, namespace string) {
	limited, cancel := context.WithTimeout(ctx, namespaceTimeout)
	defer cancel()
	live, err := g.reader.read(limited, namespace)
	last := g.shown[namespace]
	if ctx.Err() != nil {
		return
	}
	if err == nil {
		now := shown{at: time.Now()}
		now.series, now.releases = g.series(limited, namespace, live)
		if g.info != nil {
			g.info.set(namespace, live.owners(now.releases, g.track))
		}
		g.show(namespace, now)
		g.report(namespace, now.guarded())
		g.stray(namespace, live.strayMarks(now.series))
		return
	}
	if !last.failing {
		g.log.WarnContext(ctx, "the canary weights of a namespace cannot be read; the metric keeps the last ones for a few minutes",
			"namespace", namespace, "error", err)
	}
	last.failing = true
	if time.Since(last.at) > staleLimit {
		last.series = nil
		if g.info != nil {
			g.info.set(namespace, nil)
		}
	}
	g.show(namespace, last)
}

// show sets the series of the namespace and deletes those that are gone. A series that stays
// is never absent in between.
func (g *Gauge) show(namespace string, now shown) {
	for s := range g.shown[namespace].series {
		if _, ok := now.series[s]; !ok {
			g.weight.DeleteLabelValues(s.namespace, s.release, s.route)
		}
	}
	for s, live := range now.series {
		g.weight.WithLabelValues(s.namespace, s.release, s.route).Set(live.percent)
	}
	g.shown[namespace] = now
}

// series returns the weights of the namespace's opted-in releases, and these releases. A
// route whose canary is ambiguous has no weight, and neither have the routes of a release
// over which it panics: another client can write them, and the others go on.
func (g *Gauge) series(ctx context.Context, namespace string, live snapshot) (map[series]liveShare, []rollback.Key) {
	found := make(map[series]liveShare)
	var releases []rollback.Key
	mentions := live.mentions()
	for release, m := range live.releases(namespace) {
		k := rollback.Key{Namespace: namespace, Release: release}
		if !g.allows(k) {
			continue
		}
		releases = append(releases, k)
		var shares map[string]liveShare
		err := parallel.Catch(func() (err error) {
			r := &Router{objects: live.about(m, g.track, mentions), kinds: g.kinds, track: g.track}
			shares, err = r.shares(ctx, k, m)
			return err
		})
		g.logMissing(ctx, k, err)
		for route, share := range shares {
			found[series{namespace: namespace, release: release, route: route}] = share
		}
	}
	return found, releases
}

// logMissing logs why weights of a release are missing. A panic is logged with its stack, once
// until the release can be read again.
func (g *Gauge) logMissing(ctx context.Context, k rollback.Key, err error) {
	_, panicked := errors.AsType[*parallel.Panic](err)
	switch {
	case panicked && !g.panicked[k]:
		g.log.ErrorContext(ctx, "the canary weights of a release cannot be read", "namespace", k.Namespace, "release", k.Release, "error", err)
	case err != nil && !panicked:
		g.log.DebugContext(ctx, "a route is missing from the canary weights", "namespace", k.Namespace, "release", k.Release, "error", err)
	}
	delete(g.panicked, k)
	if panicked {
		g.panicked[k] = true
	}
}

// guarded returns the releases by name, each with its routes by name.
func (s shown) guarded() []rollback.GuardedRelease {
	shares := make(map[rollback.Key][]rollback.RouteShare)
	for label, live := range s.series {
		k := rollback.Key{Namespace: label.namespace, Release: label.release}
		shares[k] = append(shares[k], rollback.RouteShare{Route: label.route, Percent: live.percent, Held: live.held})
	}
	all := make([]rollback.GuardedRelease, 0, len(s.releases))
	for _, k := range s.releases {
		slices.SortFunc(shares[k], func(a, b rollback.RouteShare) int { return strings.Compare(a.Route, b.Route) })
		all = append(all, rollback.GuardedRelease{Key: k, Routes: shares[k], ReadAt: s.at})
	}
	slices.SortFunc(all, func(a, b rollback.GuardedRelease) int { return strings.Compare(a.Release, b.Release) })
	return all
}
