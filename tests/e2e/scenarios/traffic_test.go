package scenarios

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/report"
	"github.com/upcommerce/backout/tests/env/sandbox"
	"github.com/upcommerce/backout/tests/env/stage"
)

// The shoppers' requests per second, the canary's percentage, and the size of a sample.
const (
	perSecond = 50
	percent   = 20
	measured  = 500
)

// shop installs a storefront with v1 and the canary v2, waits until both serve, and
// returns its shoppers.
func shop(t *testing.T, st *stage.Stage, values ...string) *stage.Shoppers {
	t.Helper()
	install(t, st, stage.Release, append(stage.Canary("v2", "green", percent), values...)...)
	return opened(t, st, "v1", "v2")
}

func install(t *testing.T, st *stage.Stage, release string, values ...string) {
	t.Helper()
	if err := st.Install(limited(t), release, values...); err != nil {
		t.Fatal(err)
	}
}

// opened waits until each of the versions serves, and returns shoppers.
func opened(t *testing.T, st *stage.Stage, versions ...string) *stage.Shoppers {
	t.Helper()
	if err := st.AwaitRollout(limited(t)); err != nil {
		t.Fatal(err)
	}
	shoppers := st.Shoppers()
	if err := shoppers.AwaitOpen(limited(t), versions...); err != nil {
		t.Fatal(err)
	}
	return shoppers
}

// stroll sends the shoppers' requests until home is called.
func stroll(t *testing.T, shoppers *stage.Shoppers) (home func()) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	var out sync.WaitGroup
	out.Go(func() { shoppers.Stroll(ctx, perSecond) })
	home = sync.OnceFunc(func() { cancel(); out.Wait() })
	t.Cleanup(home)
	return home
}

// prometheus runs a Prometheus that evaluates the rules which backout ships and sends
// alerts to that Alertmanager. They are quiet a second after their cause is gone.
func prometheus(t *testing.T, st *stage.Stage, am *sandbox.Alertmanager) *sandbox.Prometheus {
	t.Helper()
	p, err := st.Prometheus(limited(t), stage.Monitoring{Alertmanager: am, KeepFiring: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// splits checks that the version gets that share of the traffic.
func splits(t *testing.T, st *stage.Stage, version string, share float64) {
	t.Helper()
	shoppers := st.Shoppers()
	if err := shoppers.AwaitOpen(limited(t), version); err != nil {
		t.Fatal(err)
	}
	split := shoppers.Split(limited(t), measured)
	if !split.Within(version, share) {
		t.Errorf("%s; want %s to serve %.0f%%, and no failure", split, version, 100*share)
	}
}

// checkVisits checks that only requests to the bad canary failed, and none of them after
// its weight was zero.
func checkVisits(t *testing.T, shoppers *stage.Shoppers, zero time.Time) {
	t.Helper()
	// Requests that the router had accepted when the weight was written may still fail.
	const underway = time.Second
	failed := 0
	for _, v := range shoppers.Visits() {
		if late := v.At.After(zero.Add(underway)); late && v.Version == "v3" {
			t.Errorf("a shopper got v3 %s after its weight was zero", v.At.Sub(zero))
		}
		if !v.Failed() {
			continue
		}
		failed++
		if v.Backend != stage.CanaryService {
			t.Errorf("a request failed that did not go to the bad canary, %s before the weight was zero: %s", zero.Sub(v.At), v)
		}
		if v.At.After(zero.Add(underway)) {
			t.Errorf("a request failed %s after the weight was zero: %s", v.At.Sub(zero), v)
		}
	}
	t.Logf("%d requests, of which the bad canary failed %d", len(shoppers.Visits()), failed)
}

// The whole chain is real: the shipped rules, Prometheus, Alertmanager, backout, Helm and
// the router.
func TestTheWholeChain(t *testing.T) {
	t.Parallel()
	gateway := []string{
		"routing=gateway", "gateway.parentRefs[0].name=" + sandbox.GatewayName,
		"gateway.parentRefs[0].namespace=" + sandbox.GatewayNamespace, "gateway.hostnames[0]=" + stage.Host,
	}
	for name, routing := range map[string][]string{"by annotation": nil, "by HTTPRoute": gateway} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			st := empty(t)
			b := backout(t, st, 0, stage.QueryPrometheus())
			// backout has already discovered the API server's kinds; now there are more.
			if err := st.Sandbox.GatewayAPI(limited(t)); err != nil {
				t.Fatal(err)
			}
			prom, began := prometheus(t, st, alertmanager(t, st, 0, b)), time.Now()
			shoppers := shop(t, st, routing...)
			splits(t, st, "v2", percent/100.0)
			home := stroll(t, shoppers)
			timeline := watch(t, st)
			install(t, st, stage.Release, slices.Concat(stage.Canary("v3", "yellow", percent), routing, []string{stage.Failing(0.5)})...)
			r := record(t, b, 2, restored)
			if r.Target != 1 || !r.Rollback.Succeeded() {
				t.Fatalf("the record: %s; want a rollback to revision 1, and the weight restored", report.Summary(&r))
			}
			if c := r.Signals[0].Confirmation; c == nil || c.Answer != rollback.AnswerFiring {
				t.Errorf("backout did not query Prometheus, or Prometheus did not confirm its own alert: %+v", c)
			}
			if len(r.Weights) != 1 || r.Weights[0].From != "20" || r.Weights[0].To != "0" {
				t.Errorf("weights in the record: %v, want 20 -> 0", r.Weights)
			}
			inOrder(t, timeline)
			splits(t, st, "v2", percent/100.0)
			// The bad requests are in the window of the rule for a minute; then it is quiet, and v2 has traffic.
			r = record(t, b, 2, closed)
			home()
			if r.Outcome != rollback.OutcomeRecovered {
				t.Errorf("outcome %q, %+v; want %s", r.Outcome, r.Verify, rollback.OutcomeRecovered)
			}
			checkVisits(t, shoppers, r.Shed.Done)
			checkDashboards(t, prom, began)
		})
	}
}

// If the canary is a release of its own, only that release is rolled back, not the stable
// one.
func TestACanaryThatIsAReleaseOfItsOwn(t *testing.T) {
	t.Parallel()
	const own = stage.Release + "-canary"
	st := empty(t)
	b := backout(t, st, 0, nil)
	install(t, st, stage.Release, ":canary.enabled=false")
	install(t, st, own, append(stage.Canary("v2", "green", percent), ":stable.enabled=false")...)
	shoppers := opened(t, st, "v1", "v2")
	splits(t, st, "v2", percent/100.0)
	home := stroll(t, shoppers)
	install(t, st, own, append(stage.Canary("v3", "yellow", percent), ":stable.enabled=false", stage.Failing(0.5))...)
	if err := st.AwaitRollout(limited(t)); err != nil {
		t.Fatal(err)
	}
	am := alertmanager(t, st, 0, b)
	if err := am.Fire(limited(t), sandbox.Alert{Labels: labels(map[string]string{"release": own})}); err != nil {
		t.Fatal(err)
	}
	r := recordOf(t, b, own, 2, closed)
	home()
	if r.Target != 1 || !r.Restore.Succeeded() || len(r.Weights) != 1 {
		t.Errorf("the record: %s; want the canary's release rolled back and its weight restored", report.Summary(&r))
	}
	checkVisits(t, shoppers, r.Shed.Done)
	splits(t, st, "v2", percent/100.0)
	want := []string{"1 deployed", "1 superseded", "2 superseded", "3 deployed"}
	if history := revisions(t, st); !slices.Equal(history, want) {
		t.Errorf("revisions of both releases: %v, want %v: the stable one must not be touched", history, want)
	}
}

// A release without a canary, as after a promotion, is rolled back without a shed.
func TestAReleaseWithoutACanary(t *testing.T) {
	t.Parallel()
	st := empty(t)
	b := backout(t, st, 0, nil)
	install(t, st, stage.Release, ":canary.enabled=false", "image.tag=v1")
	shoppers := opened(t, st, "v1")
	install(t, st, stage.Release, ":canary.enabled=false", "image.tag=v2", "config.main.appColor=green")
	if err := st.AwaitRollout(limited(t)); err != nil {
		t.Fatal(err)
	}
	home := stroll(t, shoppers)
	am := alertmanager(t, st, 0, b)
	if err := am.Fire(limited(t), sandbox.Alert{Labels: labels(map[string]string{"version": "v2"})}); err != nil {
		t.Fatal(err)
	}
	r := record(t, b, 2, closed)
	home()
	if r.Target != 1 || !r.Rollback.Succeeded() || len(r.Weights) != 0 {
		t.Errorf("the record: %s; want a rollback to revision 1 and no weights", report.Summary(&r))
	}
	for _, v := range shoppers.Visits() {
		if v.Failed() {
			t.Errorf("a request failed because of the rollback: %s", v)
		}
	}
	splits(t, st, "v1", 1)
}

// While the target's pods do not get ready, the bad pods keep running and get no
// requests.
func TestTheBadPodsNeverComeBack(t *testing.T) {
	t.Parallel()
	st := empty(t)
	b := backout(t, st, 0, nil)
	// v2 was never ready, but Helm did not wait for it and calls it deployed.
	install(t, st, stage.Release, append(stage.Canary("v2", "green", percent), "config.canary.env.FAULT_NEVER_READY=true")...)
	install(t, st, stage.Release, append(stage.Canary("v3", "yellow", percent), stage.Failing(1))...)
	if err := st.AwaitRollout(limited(t)); err != nil {
		t.Fatal(err)
	}
	timeline := watch(t, st)
	post(t, b, stage.Token, payload(t, labels(nil)))
	r := record(t, b, 2, func(r rollback.Record) bool { return r.Restore != nil })
	shoppers := st.Shoppers()
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if v := shoppers.Visit(t.Context()); v.Failed() || v.Version != "v1" {
			t.Fatalf("a shopper got %s %s after the rollback", v, time.Since(r.Rollback.Done))
		}
	}
	for _, e := range timeline.Events() {
		if e.Kind == stage.SawWeight && e.Value != "0" {
			t.Errorf("the canary got a weight of %s although no pod of v2 is ready", e.Value)
		}
	}
	r = record(t, b, 2, rolledBack)
	if !r.Closed.IsZero() || r.Restore.Error == "" {
		t.Errorf("the record does not say what backout waits for: %s, %+v", report.Summary(&r), r.Restore)
	}
}
