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
	"github.com/upcommerce/backout/tests/sandbox"
	"github.com/upcommerce/backout/tests/stage"
)

// What the seconds are measured with.
const (
	interval     = 5 * time.Second // of scrapes and evaluations
	perSecond    = 40              // requests to each release
	percent      = 25              // of them to the canary
	readySeconds = 30              // a pod may take to get ready: the default would have the test wait for five minutes
	noImage      = "v9"            // a tag that nobody has pushed
	prometheus   = 9190            // a port that backout does not use
	patience     = 3 * time.Minute
)

// badness is one way for a canary to be bad.
type badness struct {
	// what is for the table and, without spaces, the namespace; alert is the one that has to find it.
	what, alert string
	// tag and values are those of the bad canary.
	tag    string
	values []string
	// shoppers says whether anybody has to shop for it to be found.
	shoppers bool
	// own says that the canary is a release of its own.
	own bool
	// since tells from when on it was bad.
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

// A real storefront turns bad in each way there is, and backout's own rules find it, by real scrapes of real pods, a real
// kube-state-metrics of plain defaults, and backout's gauge. A canary that is only new raises nothing.
func TestSecondsFromTheFirstBadMomentToFiring(t *testing.T) {
	t.Parallel()
	kinds := []badness{
		{what: "errors", alert: "CanaryErrorRatio", tag: "v3", values: fault("ERROR_SHARE=0.5"), shoppers: true, since: firstFailure},
		{what: "errors own release", alert: "CanaryErrorRatio", tag: "v3", values: fault("ERROR_SHARE=0.5"), shoppers: true, own: true, since: firstFailure},
		{what: "latency", alert: "CanaryLatency", tag: "v3", values: fault("LATENCY=300ms"), shoppers: true, since: firstOfV3},
		{what: "crash loop", alert: "CanaryCrashLooping", tag: "v3", values: fault("CRASH_AFTER=1s"), since: firstCrash},
		{what: "no image", alert: "CanaryImagePull", tag: noImage, since: created},
		{what: "never ready", alert: "CanaryNotReady", tag: "v3", values: fault("NEVER_READY=true"), since: created},
		{what: "silent", alert: "CanaryUnreachable", tag: "v3", values: fault("SILENT=true"), shoppers: true, since: firstFailure},
		{what: "healthy", tag: "v3", shoppers: true},
	}
	st := stage.Start(t, stage.StorefrontImage+":"+noImage)
	p := watched(t, st, kinds)
	shops := make([]*shop, len(kinds))
	for i, kind := range kinds {
		shops[i] = open(t, st, kind)
	}
	// The weight of each canary is known for a minute, and so is its traffic.
	eventually(t, func() error {
		return holds(t, p, fmt.Sprintf(`count(canary:weight:min1m == %d) == %d`, percent, len(kinds)))
	})
	if alerts, err := p.Alerts(t.Context()); err != nil || len(alerts) > 0 {
		t.Fatalf("canaries as good as the stable track must raise no alert: %v, %v", alerts, err)
	}
	for _, s := range shops {
		s.upgrade(t)
	}
	took := make([]string, len(shops))
	var waiting sync.WaitGroup
	for i, s := range shops {
		if s.alert != "" {
			waiting.Go(func() { took[i] = s.await(t, p) })
		}
	}
	waiting.Wait()
	if found, err := p.Query(t.Context(), `ALERTS{namespace="healthy"}`); err != nil || len(found) > 0 {
		t.Errorf("a canary that is only new must raise no alert: %v, %v", found, err)
	}
	var table strings.Builder
	w := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	for i, s := range shops {
		if s.alert != "" {
			fmt.Fprintf(w, "%s\t%s\t%s\n", s.what, s.alert, took[i])
		}
	}
	_ = w.Flush()
	t.Logf("from the first bad moment to firing, scrapes and evaluations every %s, %d requests a second to the canary:\n%s",
		interval, perSecond*percent/100, table.String())
}

// watched returns a Prometheus that scrapes kube-state-metrics and backout, which only looks.
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

func (b badness) namespace() string { return strings.ReplaceAll(b.what, " ", "-") }

// open opens a shop with v1 and a healthy canary v2; shoppers come if they have to.
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

// install installs the release that the canary is in.
func (s *shop) install(t *testing.T, values []string) {
	t.Helper()
	release := "shop"
	if s.own {
		release, values = "shop-canary", append(values, ":stable.enabled=false")
	}
	if err := s.place.Install(limited(t), release, values...); err != nil {
		t.Fatal(err)
	}
}

// upgrade brings the bad canary.
func (s *shop) upgrade(t *testing.T) {
	t.Helper()
	s.install(t, append(stage.Canary(s.tag, "yellow", percent), s.values...))
}

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
			t.Errorf("%s: %s does not fire (%v); there are %v", s.what, s.alert, err, all)
			return "never"
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func firstFailure(t *testing.T, s *shop) time.Time {
	return s.first(t, func(v stage.Visit) bool { return v.Failed() })
}

func firstOfV3(t *testing.T, s *shop) time.Time {
	return s.first(t, func(v stage.Visit) bool { return v.Version == "v3" })
}

// first returns when the first visit that is meant was made.
func (s *shop) first(t *testing.T, meant func(stage.Visit) bool) time.Time {
	for _, v := range s.shoppers.Visits() {
		if meant(v) {
			return v.At
		}
	}
	t.Errorf("%s: no shopper has met it, but the alert fires", s.what)
	return time.Time{}
}

// created returns when the first pod of the bad version was made.
func created(t *testing.T, s *shop) time.Time {
	return s.pods(t, func(p corev1.Pod) time.Time { return p.CreationTimestamp.Time })
}

// firstCrash returns when the first pod of the bad version ended first: a second after it was started, as it is told to.
func firstCrash(t *testing.T, s *shop) time.Time {
	return s.pods(t, func(p corev1.Pod) time.Time { return p.Status.StartTime.Add(time.Second) })
}

// pods returns the earliest moment of the bad version's pods.
func (s *shop) pods(t *testing.T, moment func(corev1.Pod) time.Time) time.Time {
	list, err := s.stage.Client.CoreV1().Pods(s.namespace).List(t.Context(), metav1.ListOptions{LabelSelector: "app.kubernetes.io/version=" + s.tag})
	if err != nil || len(list.Items) == 0 {
		t.Errorf("%s: there is no pod of %s: %v", s.what, s.tag, err)
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
