package rules_test

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/upcommerce/backout/rules"
	"github.com/upcommerce/backout/tests/env/programs"
	"github.com/upcommerce/backout/tests/env/sandbox"
	"github.com/upcommerce/backout/tests/env/stage"
)

// The settings of the measurement.
const (
	interval     = 5 * time.Second // of scrapes and evaluations
	perSecond    = 40              // requests to each release
	percent      = 25              // of them to the canary
	readySeconds = 30              // in which a pod may get ready; the default would make the test wait for five minutes
	noImage      = "v9"            // a tag that no registry has
	prometheus   = 9190            // a port that backout does not use
	patience     = 4 * time.Minute
	newcomer     = 2 * time.Minute // for which a canary that is only new is watched
	slow         = 400 * time.Millisecond
)

// badness is one way for a canary to be bad.
type badness struct {
	// name is for the table and, without spaces, the namespace; alert is the alert that has to fire, and empty if none may.
	name, alert string
	// tag and values are the bad canary's.
	tag    string
	values []string
	// both are the values of both tracks, from the beginning.
	both []string
	// shoppers says whether the alert needs traffic.
	shoppers bool
	// own says that the canary is a release of its own.
	own bool
	// since returns when the canary turned bad.
	since func(t *testing.T, p *shop) time.Time
}

// shop is one release, or two, in a namespace of its own.
type shop struct {
	badness
	stage     *stage.Stage
	place     stage.Place
	shoppers  *stage.Shoppers
	namespace string
}

func fault(pairs ...string) []string {
	for i := range pairs {
		pairs[i] = "config.canary.env.FAULT_" + pairs[i]
	}
	return pairs
}

// fiveMilliseconds makes both tracks take 5 ms for a page, on average.
func fiveMilliseconds() []string {
	return []string{"config.main.env.FAULT_LATENCY_JITTER=10ms", "config.canary.env.FAULT_LATENCY_JITTER=10ms"}
}

// A real storefront turns bad in each way, and the shipped rules find it, with real scrapes of real pods, a real kube-state-metrics with
// its defaults, and backout's gauge. No alert asks for the rollback of a canary that is only new, or only cold at first.
func TestSecondsFromTheFirstBadMomentToFiring(t *testing.T) {
	t.Parallel()
	kinds := []badness{
		{name: "errors", alert: "CanaryErrorRatio", tag: "v3", values: fault("ERROR_SHARE=0.5"), shoppers: true, since: firstFailure},
		{name: "errors own release", alert: "CanaryErrorRatio", tag: "v3", values: fault("ERROR_SHARE=0.5"), shoppers: true, own: true, since: firstFailure},
		{name: "latency", alert: "CanaryLatency", tag: "v3", values: fault("LATENCY=" + slow.String()), both: fiveMilliseconds(), shoppers: true, since: firstOfV3},
		{name: "crash loop", alert: "CanaryCrashLooping", tag: "v3", values: fault("CRASH_AFTER=1s"), since: firstCrash},
		{name: "no image", alert: "CanaryImagePull", tag: noImage, since: created},
		{name: "never ready", alert: "CanaryNotReady", tag: "v3", values: fault("NEVER_READY=true"), since: created},
		{name: "silent", alert: "CanaryUnreachable", tag: "v3", values: fault("SILENT=true"), shoppers: true, since: firstFailure},
		{name: "cold", tag: "v3", values: fault("LATENCY="+slow.String(), "LATENCY_FOR=40s"), both: fiveMilliseconds(), shoppers: true},
		{name: "healthy", tag: "v3", shoppers: true},
	}
	// On a machine that compiles it for the first time this takes minutes: it is kept out of the time limits below.
	if _, err := programs.Build(t.Context(), programs.KubeStateMetrics(), nil); err != nil {
		t.Fatal(err)
	}
	st := stage.Start(t, stage.StorefrontImage+":"+noImage)
	p := watched(t, st, kinds)
	shops := make([]*shop, len(kinds))
	for i, kind := range kinds {
		shops[i] = open(t, st, kind)
	}
	// Wait until the weight and the traffic of each canary are known for a minute.
	eventually(t, func() error {
		return holds(t, p, fmt.Sprintf(`count(canary:weight:min1m == %d) == %d`, percent, len(kinds)))
	})
	if alerts, err := p.Alerts(t.Context()); err != nil || len(alerts) > 0 {
		t.Fatalf("no alert may fire for canaries as good as the stable track: %v, %v", alerts, err)
	}
	for _, s := range shops {
		s.upgrade(t)
	}
	took := make([]string, len(shops))
	var waiting sync.WaitGroup
	for i, s := range shops {
		if s.alert == "" {
			waiting.Go(func() { s.leftAlone(t, p) })
		} else {
			waiting.Go(func() { took[i] = s.await(t, p) })
		}
	}
	waiting.Wait()
	var table strings.Builder
	w := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	for i, s := range shops {
		if s.alert != "" {
			fmt.Fprintf(w, "%s\t%s\t%s\n", s.name, s.alert, took[i])
		}
	}
	_ = w.Flush()
	t.Logf("from the first bad moment to firing, scrapes and evaluations every %s, %d requests per second to the canary:\n%s",
		interval, perSecond*percent/100, table.String())
}

// watched returns a Prometheus that scrapes kube-state-metrics and a backout that only observes.
func watched(t *testing.T, st *stage.Stage, kinds []badness) *sandbox.Prometheus {
	t.Helper()
	ctx := limited(t)
	metrics, err := st.Sandbox.KubeStateMetrics(ctx, sandbox.KubeStateMetricsOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var releases []string
	for _, kind := range kinds {
		releases = append(releases, kind.namespace()+"/*")
	}
	if _, err := st.Backout(ctx, 0, map[string]string{
		"BACKOUT_MODE": "observe", "BACKOUT_RELEASES": strings.Join(releases, ","),
	}); err != nil {
		t.Fatal(err)
	}
	b, err := rules.Assemble(rules.Options{Thresholds: map[string]float64{"ready_seconds": readySeconds}})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "canary.rules.yml")
	write(t, file, b)
	p, err := st.Sandbox.Prometheus(ctx, sandbox.PrometheusOptions{
		RuleFiles: []string{file}, Port: prometheus, ScrapeInterval: interval, EvaluationInterval: interval,
		Targets: map[string][]string{"kube-state-metrics": {metrics.Target()}, "backout": {sandbox.InnerAddress + ":9090"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func limited(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

func (b badness) namespace() string { return strings.ReplaceAll(b.name, " ", "-") }

// open opens a shop with v1 and a healthy canary v2, and sends traffic if the alert needs it.
func open(t *testing.T, st *stage.Stage, kind badness) *shop {
	t.Helper()
	s := &shop{badness: kind, stage: st, namespace: kind.namespace(), place: st.Place(kind.namespace())}
	s.shoppers = s.place.Shoppers()
	ctx := limited(t)
	if s.own {
		if err := s.place.Install(ctx, "shop", ":canary.enabled=false"); err != nil {
			t.Fatal(err)
		}
	}
	s.install(t, stage.Canary("v2", "green", percent))
	if err := s.place.AwaitRollout(ctx); err != nil {
		t.Fatal(err)
	}
	if err := s.shoppers.AwaitOpen(ctx, "v1", "v2"); err != nil {
		t.Fatal(err)
	}
	if kind.shoppers {
		shopping, home := context.WithCancel(t.Context())
		var out sync.WaitGroup
		out.Go(func() { s.shoppers.Stroll(shopping, perSecond) })
		t.Cleanup(func() { home(); out.Wait() })
	}
	return s
}

// install installs the release with the canary.
func (s *shop) install(t *testing.T, values []string) {
	t.Helper()
	release := "shop"
	values = append(values, s.both...)
	if s.own {
		release, values = "shop-canary", append(values, ":stable.enabled=false")
	}
	if err := s.place.Install(limited(t), release, values...); err != nil {
		t.Fatal(err)
	}
}

// upgrade installs the bad canary.
func (s *shop) upgrade(t *testing.T) {
	t.Helper()
	s.install(t, append(stage.Canary(s.tag, "yellow", percent), s.values...))
}

// leftAlone checks that no alert asks for a rollback until the canary has served for newcomer.
func (s *shop) leftAlone(t *testing.T, p *sandbox.Prometheus) {
	time.Sleep(newcomer)
	began := s.firstVisit(t, ofV3)
	time.Sleep(time.Until(began.Add(newcomer)))
	expr := fmt.Sprintf(`last_over_time(ALERTS{namespace=%q, backout!="observe"}[%s])`, s.namespace, newcomer)
	if found, err := p.Query(t.Context(), expr); err != nil || len(found) > 0 {
		t.Errorf("%s: no alert may ask for the rollback of a canary that is only new: %v, %v", s.name, found, err)
	}
	if len(s.values) == 0 {
		return
	}
	if cold, warm := s.slowPages(began, began.Add(30*time.Second)), s.slowPages(began.Add(time.Minute), time.Now()); cold < .95 || warm > .05 {
		t.Errorf("%s: %.2f of the pages were slow in the first 30 s, %.2f after a minute; want all, and none", s.name, cold, warm)
	}
}

// slowPages returns the share of v3's pages that were slow.
func (s *shop) slowPages(since, until time.Time) float64 {
	slowly, all := 0., 0.
	for _, v := range s.shoppers.Visits() {
		if ofV3(v) && v.At.After(since) && v.At.Before(until) {
			if all++; v.Took >= slow {
				slowly++
			}
		}
	}
	return slowly / all
}

func ofV3(v stage.Visit) bool { return v.Version == "v3" }

// await waits for the shop's alert and returns how long it took.
func (s *shop) await(t *testing.T, p *sandbox.Prometheus) string {
	release := "shop"
	if s.own {
		release = "shop-canary"
	}
	expr := fmt.Sprintf(`ALERTS{alertname=%q, alertstate="firing", namespace=%q, release=%q, version=%q}`, s.alert, s.namespace, release, s.tag)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		found, err := p.Query(ctx, expr)
		if err == nil && len(found) > 0 {
			return fmt.Sprintf("%.1f s", time.Since(s.since(t, s)).Seconds())
		}
		select {
		case <-ctx.Done():
			all, _ := p.Query(t.Context(), fmt.Sprintf(`ALERTS{namespace=%q}`, s.namespace))
			t.Errorf("%s: %s does not fire (%v); these alerts do: %v", s.name, s.alert, err, all)
			return "never"
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func firstFailure(t *testing.T, s *shop) time.Time {
	return s.firstVisit(t, func(v stage.Visit) bool { return v.Failed() })
}

func firstOfV3(t *testing.T, s *shop) time.Time {
	return s.firstVisit(t, ofV3)
}

// firstVisit returns when the first visit that matches was made.
func (s *shop) firstVisit(t *testing.T, match func(stage.Visit) bool) time.Time {
	for _, v := range s.shoppers.Visits() {
		if match(v) {
			return v.At
		}
	}
	t.Errorf("%s: no visit matches", s.name)
	return time.Time{}
}

// created returns when the first pod of the bad version was created.
func created(t *testing.T, s *shop) time.Time {
	return s.pods(t, func(p corev1.Pod) time.Time { return p.CreationTimestamp.Time })
}

// firstCrash returns when a pod of the bad version crashed first: a second after its start, as CRASH_AFTER says.
func firstCrash(t *testing.T, s *shop) time.Time {
	return s.pods(t, func(p corev1.Pod) time.Time { return p.Status.StartTime.Add(time.Second) })
}

// pods returns the earliest of the moments of the bad version's pods.
func (s *shop) pods(t *testing.T, moment func(corev1.Pod) time.Time) time.Time {
	list, err := s.stage.Client.CoreV1().Pods(s.namespace).List(t.Context(), metav1.ListOptions{LabelSelector: "app.kubernetes.io/version=" + s.tag})
	if err != nil || len(list.Items) == 0 {
		t.Errorf("%s: there is no pod of %s: %v", s.name, s.tag, err)
		return time.Time{}
	}
	first := moment(list.Items[0])
	for _, p := range list.Items[1:] {
		if at := moment(p); at.Before(first) {
			first = at
		}
	}
	return first
}
