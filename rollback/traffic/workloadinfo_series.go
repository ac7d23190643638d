package traffic

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/upcommerce/backout/rollback"
)

// infoSeries is one series of backout_workload_info, but for its release.
type infoSeries struct {
	revision     int
	kind, name   string
	app, version string
	canary       bool
}

func (s infoSeries) metric(desc *prometheus.Desc, k rollback.Key) prometheus.Metric {
	track := "stable"
	if s.canary {
		track = rollback.TrackCanary
	}
	return constant(desc, 1, k.Namespace, k.Release, strconv.Itoa(s.revision), s.app, s.version, track, s.kind, s.name)
}

// constant returns a gauge with that value.
func constant(desc *prometheus.Desc, value float64, labels ...string) prometheus.Metric {
	return prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...)
}

// workloadSeries returns the series of one release, whose revisions are newest first.
func workloadSeries(revisions []rollback.Revision, owners []podOwner, sets map[string][]replicaSet) []infoSeries {
	var all []infoSeries
	for _, owner := range owners {
		if owner.kind != deploymentKind {
			all = append(all, infoSeries{
				revision: revisionAt(revisions, owner.changed), kind: owner.kind, name: owner.name,
				app: owner.app, version: owner.version, canary: owner.canary,
			})
			continue
		}
		for _, set := range sets[owner.name] {
			all = append(all, infoSeries{
				revision: set.revision(revisions, sets[owner.name]), kind: "ReplicaSet", name: set.name,
				app: set.app, version: set.version, canary: owner.canary,
			})
		}
	}
	return all
}

// revision returns the revision under which the ReplicaSet came to serve: the newest one when it
// was created. A ReplicaSet that the Deployment uses again, as after a rollback, has new pods
// since: then it is the newest one when it was changed last, which is when it got its pods, or
// when it was scaled since.
func (r replicaSet) revision(revisions []rollback.Revision, siblings []replicaSet) int {
	if !r.again {
		return revisionAt(revisions, r.created)
	}
	for _, other := range siblings {
		if other.position > r.position {
			return revisionAt(revisions, r.created) // it is being replaced
		}
	}
	return revisionAt(revisions, r.changed)
}

// revisionAt returns the newest of the revisions that was deployed at that time: the oldest one
// that Helm still has, if all are newer, and the newest one if the time is not known.
func revisionAt(revisions []rollback.Revision, at time.Time) int {
	for _, r := range revisions {
		if at.IsZero() || !r.Deployed.After(at) {
			return r.Number
		}
	}
	return revisions[len(revisions)-1].Number
}

// owners returns the workloads of the releases of the snapshot's namespace.
func (s snapshot) owners(releases []rollback.Key, t rollback.Track) map[rollback.Key][]podOwner {
	found := make(map[rollback.Key][]podOwner, len(releases))
	if len(releases) == 0 {
		return found
	}
	live := s.releases(releases[0].Namespace)
	for _, k := range releases {
		found[k] = podOwners(live[k.Release], t)
	}
	return found
}

// podOwners returns the workloads of a release's live objects whose pods may be behind a
// Service.
func podOwners(m rollback.Manifest, t rollback.Track) []podOwner {
	var all []podOwner
	for _, w := range t.Serving(m) {
		changed, _, _ := unstructured.NestedString(w.Object, "metadata", changedAt)
		owner := podOwner{
			kind: w.Kind, name: w.Name, canary: w.Canary, app: appOf(w.PodLabels), version: versionOf(w.PodLabels, firstImage(w.Template)),
		}
		owner.changed, _ = time.Parse(time.RFC3339, changed)
		all = append(all, owner)
	}
	return all
}

// firstImage returns the image of the first container of a pod template; "" without one.
func firstImage(template rollback.Object) string {
	containers, _, _ := unstructured.NestedSlice(template, "spec", "containers")
	if len(containers) == 0 {
		return ""
	}
	first, _ := containers[0].(map[string]any)
	image, _ := first["image"].(string)
	return image
}
