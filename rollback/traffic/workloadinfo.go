package traffic

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/client-go/rest"

	"github.com/upcommerce/backout/rollback"
)

// maxWorkloadSeries bounds the series of backout_workload_info in one namespace.
const maxWorkloadSeries = 10_000

// podOwner is a live workload of an opted-in release that makes pods.
type podOwner struct {
	kind, name   string
	app, version string
	canary       bool
	// changed is when a client changed more than its status last; zero if that is not known.
	changed time.Time
}

// workloadInfo shows, as metrics, since when each revision is deployed, and which pods are
// whose. It takes the workloads from a Gauge, the ReplicaSets from a watch, and the revisions
// from Helm's storage as followed. Every replica shows the same.
type workloadInfo struct {
	revisions func(rollback.Key) []rollback.Revision
	sets      map[string]*replicaSets
	log       *slog.Logger

	deployed, info, followed *prometheus.Desc

	mu sync.Mutex
	// owners are what the Gauge has read last, by namespace.
	owners map[string]map[rollback.Key][]podOwner
	// full are the namespaces with too many series, of which it has logged.
	full map[string]bool
}

func newWorkloadInfo(o GaugeOptions, server rest.Interface, changed func(namespace string)) *workloadInfo {
	w := &workloadInfo{
		revisions: o.Revisions, log: o.Log, sets: make(map[string]*replicaSets),
		owners: make(map[string]map[rollback.Key][]podOwner), full: make(map[string]bool),
		deployed: prometheus.NewDesc("backout_release_deployed_timestamp_seconds",
			"When the API server stored a revision of an opted-in release: the newest one, and each that backout_workload_info names. "+
				"Every replica has the same series: max by (namespace, release, revision).",
			[]string{"namespace", "release", "revision"}, nil),
		info: prometheus.NewDesc("backout_workload_info",
			"Makers of pods of an opted-in release: each ReplicaSet of a Deployment that still has pods, each StatefulSet and DaemonSet. "+
				"revision is the one that made the ReplicaSet; of a ReplicaSet that is used again, and of the other kinds, it is the one under which it changed last: "+
				"its own pods are those that were created since. track is canary or stable, app and version are those of the pods. "+
				"Always 1. Every replica has the same series: max by (namespace, release, revision, app, version, track, kind, name).",
			[]string{"namespace", "release", "revision", "app", "version", "track", "kind", "name"}, nil),
		followed: prometheus.NewDesc("backout_replicasets_followed",
			"Whether backout follows the ReplicaSets of a guarded namespace: 1; 0 before it does, or if it may not watch them, so that backout_workload_info has no pods of Deployments.",
			[]string{"namespace"}, nil),
	}
	for _, namespace := range o.Namespaces {
		w.sets[namespace] = &replicaSets{server: server, namespace: namespace, log: o.Log, changed: changed}
	}
	return w
}

// run follows the ReplicaSets until ctx ends.
func (w *workloadInfo) run(ctx context.Context) {
	var following sync.WaitGroup
	for _, sets := range w.sets {
		following.Go(func() { sets.run(ctx) })
	}
	following.Wait()
}

// set stores the live workloads of a namespace's releases; nil if they are not known.
func (w *workloadInfo) set(namespace string, owners map[rollback.Key][]podOwner) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.owners[namespace] = owners
}

// Describe implements prometheus.Collector.
func (w *workloadInfo) Describe(out chan<- *prometheus.Desc) {
	out <- w.deployed
	out <- w.info
	out <- w.followed
}

// Collect implements prometheus.Collector. It sends no request.
func (w *workloadInfo) Collect(out chan<- prometheus.Metric) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for namespace, sets := range w.sets {
		sets, known := sets.all()
		followed := 0.0
		if known {
			followed = 1
		}
		out <- constant(w.followed, followed, namespace)
		w.collect(out, namespace, byDeployment(sets))
	}
}

// collect shows one namespace, in the order of its releases until there are too many series.
func (w *workloadInfo) collect(out chan<- prometheus.Metric, namespace string, sets map[string][]replicaSet) {
	left := maxWorkloadSeries
	releases := w.owners[namespace]
	for _, k := range sortedKeys(releases) {
		revisions := w.revisions(k)
		if len(revisions) == 0 {
			continue // Helm does not store it, or is not followed
		}
		series := workloadSeries(revisions, releases[k], sets)
		if left -= len(series); left < 0 {
			w.logFull(namespace)
			return
		}
		shown := map[int]bool{revisions[0].Number: true}
		for _, s := range series {
			shown[s.revision] = true
			out <- s.metric(w.info, k)
		}
		for _, r := range revisions {
			if shown[r.Number] && !r.Deployed.IsZero() {
				out <- constant(w.deployed, float64(r.Deployed.Unix()), k.Namespace, k.Release, strconv.Itoa(r.Number))
			}
		}
	}
	delete(w.full, namespace)
}

// logFull logs once that a namespace has too many series.
func (w *workloadInfo) logFull(namespace string) {
	if !w.full[namespace] {
		w.full[namespace] = true
		w.log.Warn("a namespace has too many workloads: backout_workload_info lacks its last releases",
			"namespace", namespace, "count", maxWorkloadSeries)
	}
}

// byDeployment returns the ReplicaSets by the name of their Deployment.
func byDeployment(all []replicaSet) map[string][]replicaSet {
	found := make(map[string][]replicaSet)
	for _, set := range all {
		found[set.deployment] = append(found[set.deployment], set)
	}
	return found
}

func sortedKeys(releases map[rollback.Key][]podOwner) []rollback.Key {
	all := make([]rollback.Key, 0, len(releases))
	for k := range releases {
		all = append(all, k)
	}
	slices.SortFunc(all, func(a, b rollback.Key) int { return cmp.Compare(a.Release, b.Release) })
	return all
}
