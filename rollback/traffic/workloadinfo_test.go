package traffic

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"

	"github.com/upcommerce/backout/rollback"
)

// at is a time of the tests, in whole seconds as the API server's are.
func at(seconds int) time.Time { return time.Date(2026, 11, 27, 12, 0, seconds, 0, time.UTC) }

// revisionsAt returns revisions 1, 2, ... that were deployed at these times, newest first.
func revisionsAt(seconds ...int) []rollback.Revision {
	var all []rollback.Revision
	for i, s := range seconds {
		all = append(all, rollback.Revision{Number: i + 1, Deployed: at(s)})
	}
	slices.Reverse(all)
	return all
}

// The revision of a series is the one under which the pods came to serve.
func TestRevisionOfPods(t *testing.T) {
	canary := []podOwner{{kind: deploymentKind, name: "shop-canary", canary: true}}
	good := replicaSet{name: "shop-canary-v2", deployment: "shop-canary", version: "v2", created: at(1), changed: at(2), position: 1}
	bad := replicaSet{name: "shop-canary-v3", deployment: "shop-canary", version: "v3", created: at(101), changed: at(102), position: 2}
	back := good
	back.position, back.again, back.changed = 3, true, at(201)
	badAgain := bad
	badAgain.position, badAgain.again, badAgain.changed = 4, true, at(301)
	for name, c := range map[string]struct {
		revisions []rollback.Revision
		owners    []podOwner
		sets      []replicaSet
		want      []string
	}{
		"an install":                             {revisionsAt(0), canary, []replicaSet{good}, []string{"1 ReplicaSet/shop-canary-v2"}},
		"an upgrade that has written no object":  {revisionsAt(0, 100), canary, []replicaSet{good}, []string{"1 ReplicaSet/shop-canary-v2"}},
		"an upgrade in its rollout":              {revisionsAt(0, 100), canary, []replicaSet{good, bad}, []string{"1 ReplicaSet/shop-canary-v2", "2 ReplicaSet/shop-canary-v3"}},
		"the next step of a ramp":                {revisionsAt(0, 100, 150), canary, []replicaSet{bad}, []string{"2 ReplicaSet/shop-canary-v3"}},
		"a rollback uses the old ReplicaSet":     {revisionsAt(0, 100, 200), canary, []replicaSet{back, bad}, []string{"2 ReplicaSet/shop-canary-v3", "3 ReplicaSet/shop-canary-v2"}},
		"a ramp after that":                      {revisionsAt(0, 100, 200, 250), canary, []replicaSet{back}, []string{"3 ReplicaSet/shop-canary-v2"}},
		"the same template after a rollback":     {revisionsAt(0, 100, 200, 300), canary, []replicaSet{badAgain, back}, []string{"1 ReplicaSet/shop-canary-v2", "4 ReplicaSet/shop-canary-v3"}},
		"Helm has pruned the revision":           {revisionsAt(0, 100, 200)[:2], canary, []replicaSet{good}, []string{"2 ReplicaSet/shop-canary-v2"}},
		"created in the second of the revision":  {revisionsAt(0, 101), canary, []replicaSet{bad}, []string{"2 ReplicaSet/shop-canary-v3"}},
		"a ReplicaSet of another Deployment":     {revisionsAt(0), canary, []replicaSet{{name: "blog-1", deployment: "blog", created: at(1)}}, nil},
		"a StatefulSet that Helm changed":        {revisionsAt(0, 100), []podOwner{{kind: "StatefulSet", name: "web", changed: at(101)}}, nil, []string{"2 StatefulSet/web"}},
		"a StatefulSet that Helm left as it was": {revisionsAt(0, 100), []podOwner{{kind: "StatefulSet", name: "web", changed: at(1)}}, nil, []string{"1 StatefulSet/web"}},
		"a DaemonSet without managed fields":     {revisionsAt(0, 100), []podOwner{{kind: "DaemonSet", name: "log"}}, nil, []string{"2 DaemonSet/log"}},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, s := range workloadSeries(c.revisions, c.owners, byDeployment(c.sets)) {
				got = append(got, fmt.Sprintf("%d %s/%s", s.revision, s.kind, s.name))
			}
			slices.Sort(got)
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("revisions (-want +got):\n%s", diff)
			}
		})
	}
}

// watched is an API server that answers lists as a transport does, and watches of ReplicaSets
// with the events that the test sends.
type watched struct {
	transport

	mu      sync.Mutex
	refusal error
	begun   []string // the resourceVersion of each watch
	stream  *io.PipeWriter
	lists   int
}

func (w *watched) RoundTrip(q *http.Request) (*http.Response, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if q.URL.Query().Get("watch") != "true" {
		w.lists++
		return w.transport.RoundTrip(q)
	}
	answer := &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}}, Request: q}
	w.begun = append(w.begun, q.URL.Query().Get("resourceVersion"))
	if refused, ok := w.refusal.(apierrors.APIStatus); ok {
		s := refused.Status()
		answer.StatusCode, answer.Body = int(s.Code), io.NopCloser(bytes.NewReader(must(json.Marshal(&s))))
		return answer, nil
	}
	reading, writing := io.Pipe()
	answer.Body, w.stream = reading, writing
	go func() {
		<-q.Context().Done()
		_ = writing.CloseWithError(q.Context().Err())
	}()
	return answer, nil
}

// send sends an event about an object.
func (w *watched) send(t *testing.T, event, text string) {
	t.Helper()
	w.mu.Lock()
	stream := w.stream
	w.mu.Unlock()
	sent := must(json.Marshal(map[string]any{"type": event, "object": json.RawMessage(must(json.Marshal(object(t, text))))}))
	if _, err := stream.Write(sent); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
}

// followedGauge is a gauge that follows workloads, on such an API server.
type followedGauge struct {
	*Gauge

	registry *prometheus.Registry
	log      bytes.Buffer
}

func followedOn(t *testing.T, server *watched, allows func(rollback.Key) bool, revisions func(rollback.Key) []rollback.Revision) *followedGauge {
	t.Helper()
	g := &followedGauge{registry: prometheus.NewPedanticRegistry()}
	var err error
	g.Gauge, err = NewGauge(GaugeOptions{
		Config:     &rest.Config{Host: "http://cluster.example", QPS: -1, Transport: server},
		Namespaces: []string{"shop"}, Allows: allows, Registerer: g.registry, Log: slog.New(slog.NewTextHandler(&g.log, nil)),
		Revisions: revisions,
	})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// series returns the series of a metric as "label=value,..." without the namespace, by value.
func (g *followedGauge) series(t *testing.T, name string) map[string]float64 {
	t.Helper()
	families, err := g.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	found := make(map[string]float64)
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			var labels []string
			for _, pair := range m.GetLabel() {
				if pair.GetName() != "namespace" {
					labels = append(labels, pair.GetValue())
				}
			}
			found[strings.Join(labels, " ")] = m.GetGauge().GetValue()
		}
	}
	return found
}

// replicaSetOf returns a ReplicaSet as the API server sends it.
func replicaSetOf(name, owner, labels string, pods, created, version int) string {
	return fmt.Sprintf(`{metadata: {name: %s, namespace: shop, resourceVersion: "%d", creationTimestamp: "%s", annotations: {deployment.kubernetes.io/revision: "1"},
 ownerReferences: [{apiVersion: apps/v1, kind: Deployment, name: %s, uid: u, controller: true}]},
 spec: {replicas: %d, template: {metadata: {labels: {%s}}, spec: {containers: [{image: "registry/shop:v9"}]}}}, status: {replicas: %d}}`,
		name, version, at(created).Format(time.RFC3339), owner, pods, labels, pods)
}

// run runs the gauge until the test ends.
func (g *followedGauge) run(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- g.Run(ctx) }()
	synctest.Wait()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

// tracks returns the live objects of the release web: a canary, a stable track, and more.
func tracks(t *testing.T, more ...string) []string {
	t.Helper()
	return of(t, "web", append(more, deployment("shop-canary", "canary", "1", 1), deployment("shop-stable", "stable", "3", 3), sharedService)...)
}

func twoRevisions(rollback.Key) []rollback.Revision { return revisionsAt(0, 100) }

// The metrics follow an upgrade within a second of its first pod, on a cluster that is idle
// before.
func TestWorkloadInfoFollowsAnUpgrade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &watched{transport: transport{cluster(t, tracks(t, `{apiVersion: apps/v1, kind: StatefulSet, metadata: {name: db, managedFields: [{manager: helm, time: "2026-11-27T12:00:01Z"}, {manager: k, subresource: status, time: "2026-11-27T13:00:00Z"}]}, spec: {template: {metadata: {labels: {app: db}}, spec: {containers: [{image: "db:16"}]}}}}`)...)}}
		g := followedOn(t, server, web, twoRevisions)
		g.run(t)
		server.send(t, "ADDED", replicaSetOf("shop-stable-1", "shop-stable", "app.kubernetes.io/name: shop, app.kubernetes.io/version: v2", 3, 1, 5))
		server.send(t, "ADDED", replicaSetOf("shop-stable-0", "shop-stable", "app: shop", 0, 0, 6))
		server.send(t, "ADDED", replicaSetOf("blog-1", "blog", "app: blog", 2, 1, 7))
		time.Sleep(70 * time.Second)
		server.mu.Lock()
		server.lists = 0
		server.mu.Unlock()
		server.send(t, "ADDED", replicaSetOf("shop-canary-1", "shop-canary", "app: shop", 1, 101, 8))
		time.Sleep(time.Second)
		synctest.Wait()
		if server.lists == 0 {
			t.Error("a ReplicaSet that gets its first pod has its namespace read within a second")
		}
		want := map[string]float64{
			"shop ReplicaSet shop-stable-1 web 1 stable v2": 1,
			"shop ReplicaSet shop-canary-1 web 2 canary v9": 1,
			"db StatefulSet db web 1 stable 16":             1,
		}
		if diff := cmp.Diff(want, g.series(t, "backout_workload_info")); diff != "" {
			t.Errorf("series (-want +got):\n%s", diff)
		}
		deployed := map[string]float64{"web 1": float64(at(0).Unix()), "web 2": float64(at(100).Unix())}
		if diff := cmp.Diff(deployed, g.series(t, "backout_release_deployed_timestamp_seconds")); diff != "" {
			t.Errorf("deployment times (-want +got):\n%s", diff)
		}
		server.send(t, "MODIFIED", replicaSetOf("shop-stable-1", "shop-stable", "app: shop", 0, 1, 9))
		server.send(t, "DELETED", replicaSetOf("shop-canary-1", "shop-canary", "app: shop", 1, 101, 10))
		if got := g.series(t, "backout_workload_info"); len(got) != 1 || got["db StatefulSet db web 1 stable 16"] != 1 {
			t.Errorf("ReplicaSets without pods have no series: got %v", got)
		}
	})
}

// An idle namespace has its lists every 30 s and its watch every 5 minutes, and a watch goes on
// where the last one ended.
func TestReplicaSetsAreFollowedWithoutLists(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &watched{transport: transport{cluster(t, tracks(t)...)}}
		g := followedOn(t, server, web, twoRevisions)
		g.run(t)
		server.send(t, "ADDED", replicaSetOf("shop-canary-1", "shop-canary", "app: shop", 1, 101, 8))
		server.send(t, "ADDED", replicaSetOf("shop-canary-2", "shop-canary", "app: shop", 1, 102, 9))
		server.send(t, "BOOKMARK", `{metadata: {resourceVersion: "44"}}`)
		end := func() {
			server.mu.Lock()
			defer server.mu.Unlock()
			_ = server.stream.Close()
		}
		end()
		synctest.Wait()
		if diff := cmp.Diff(map[string]float64{"": 1}, g.series(t, "backout_replicasets_followed")); diff != "" {
			t.Errorf("the moment between two watches is no end (-want +got):\n%s", diff)
		}
		time.Sleep(time.Second)
		server.send(t, "ERROR", `{kind: Status, apiVersion: v1, status: Failure, code: 410, reason: Expired, metadata: {}}`)
		time.Sleep(time.Second)
		if diff := cmp.Diff([]string{"", "44", ""}, server.begun); diff != "" {
			t.Errorf("versions from which the watches begin (-want +got):\n%s", diff)
		}
		server.send(t, "ADDED", replicaSetOf("shop-canary-2", "shop-canary", "app: shop", 1, 102, 60))
		if got := g.series(t, "backout_workload_info"); len(got) != 2 {
			t.Errorf("a watch that begins again loses no series at once: got %v", got)
		}
		time.Sleep(initialEvents)
		if got := g.series(t, "backout_workload_info"); len(got) != 1 {
			t.Errorf("a ReplicaSet that the new watch does not deliver is gone: got %v", got)
		}
	})
}

// Where backout may not watch ReplicaSets, it says so once, and a metric does.
func TestReplicaSetsThatMayNotBeWatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &watched{transport: transport{cluster(t, tracks(t)...)}}
		server.refusal = apierrors.NewForbidden(schema.GroupResource{Group: "apps", Resource: "replicasets"}, "", nil)
		g := followedOn(t, server, web, twoRevisions)
		g.run(t)
		time.Sleep(25 * time.Minute)
		if n := strings.Count(g.log.String(), "allow backout to watch replicasets in namespace shop"); n != 1 || len(server.begun) != 3 {
			t.Errorf("the missing right is logged once, and tried every ten minutes: %d times, %d watches\n%s", n, len(server.begun), g.log.String())
		}
		if diff := cmp.Diff(map[string]float64{"": 0}, g.series(t, "backout_replicasets_followed")); diff != "" {
			t.Errorf("the metric (-want +got):\n%s", diff)
		}
		server.mu.Lock()
		server.refusal = nil
		server.mu.Unlock()
		time.Sleep(refusedInterval)
		if diff := cmp.Diff(map[string]float64{"": 1}, g.series(t, "backout_replicasets_followed")); diff != "" {
			t.Errorf("the metric once backout may (-want +got):\n%s", diff)
		}
	})
}

// The series are those of opted-in releases that Helm stores, and not without bounds.
func TestWorkloadInfoIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &watched{transport: transport{cluster(t, append(tracks(t), of(t, "blog", deployment("blog", "stable", "1", 1))...)...)}}
		g := followedOn(t, server, func(rollback.Key) bool { return true }, func(k rollback.Key) []rollback.Revision {
			if k.Release == "blog" {
				return nil
			}
			return revisionsAt(0)
		})
		g.run(t)
		server.send(t, "ADDED", replicaSetOf("blog-1", "blog", "app: shop", 1, 101, 8))
		if got := g.series(t, "backout_workload_info"); len(got) != 0 {
			t.Errorf("a release that Helm does not store has no series: got %v", got)
		}
		g.info.sets["shop"].mu.Lock()
		for i := range maxWorkloadSeries + 1 {
			name := fmt.Sprintf("shop-canary-%d", i)
			g.info.sets["shop"].sets[name] = replicaSet{name: name, deployment: "shop-canary"}
		}
		g.info.sets["shop"].mu.Unlock()
		for range 2 {
			if got := len(g.series(t, "backout_workload_info")); got > maxWorkloadSeries {
				t.Errorf("%d series, want at most %d", got, maxWorkloadSeries)
			}
		}
		if n := strings.Count(g.log.String(), "too many workloads"); n != 1 {
			t.Errorf("too many workloads are logged once: got %d times", n)
		}
	})
}

// A change has a namespace read soon, but not all the time.
func TestScheduleOfReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSchedule()
		s.add([]string{"shop"})
		read := func(takes time.Duration) {
			began := time.Now()
			time.Sleep(takes)
			s.done("shop", began)
		}
		read(400 * time.Millisecond)
		for range 3 {
			s.soon("shop")
			_, wait := s.next()
			if wait != 4*time.Second {
				t.Errorf("a read of 0.4 s is followed by another one after %s, want ten times as long", wait)
			}
			time.Sleep(wait)
			read(400 * time.Millisecond)
		}
		if _, wait := s.next(); wait != settledDelay-400*time.Millisecond {
			t.Errorf("after a change the namespace is read once more: after %s", wait)
		}
		time.Sleep(settledDelay)
		read(0)
		if _, wait := s.next(); wait != gaugeInterval {
			t.Errorf("then every %s: got %s", gaugeInterval, wait)
		}
		s.soon("elsewhere")
		if name, _ := s.next(); name != "shop" {
			t.Errorf("a namespace that is not followed is not read: got %q", name)
		}
	})
}

// The objects that exist are delivered first, in any order: a watch that breaks off among them
// begins again, and lacks none.
func TestAWatchThatBreaksOffAtItsBeginningBeginsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &watched{transport: transport{cluster(t, tracks(t)...)}}
		g := followedOn(t, server, web, twoRevisions)
		g.run(t)
		server.send(t, "ADDED", replicaSetOf("shop-canary-1", "shop-canary", "app: shop", 1, 101, 8))
		server.mu.Lock()
		_ = server.stream.Close()
		server.mu.Unlock()
		time.Sleep(2 * time.Second)
		if diff := cmp.Diff([]string{"", ""}, server.begun); diff != "" {
			t.Errorf("versions from which the watches begin (-want +got):\n%s", diff)
		}
	})
}

// An image may be of any length.
func TestTheVersionOfAnImageIsBounded(t *testing.T) {
	if got := versionOf(nil, "shop:"+strings.Repeat("x", 1<<20)); len(got) > rollback.MaxName+len("…") {
		t.Errorf("a label of %d bytes", len(got))
	}
}
