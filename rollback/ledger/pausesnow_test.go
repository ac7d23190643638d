package ledger_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/upcommerce/backout/rollback/ledger"
)

// TestAPauseEndsByItself: an operator forgets it otherwise.
func TestAPauseEndsByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLedger(fake.NewClientset(), "shop")
		scope := ledger.Scope{Namespace: "shop", Release: "web"}
		if err := l.Pause(t.Context(), scope, ledger.PauseNote(time.Now(), 2*time.Hour, "ann", "load test")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2*time.Hour - time.Second)
		if text, err := l.Paused(t.Context(), key()); err != nil || !strings.Contains(text, "by ann: load test") {
			t.Errorf("%q, %v; want the pause in force until its end", text, err)
		}
		time.Sleep(2 * time.Second)
		if text, err := l.Paused(t.Context(), key()); err != nil || text != "" {
			t.Errorf("%q, %v after its end; want no pause", text, err)
		}
	})
}

// TestPauseGauge: the leader says what is paused, and which pauses do not end by themselves.
func TestPauseGauge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := fake.NewClientset()
		for namespace, annotations := range map[string]map[string]string{
			"backout": {"backout.dev/paused-everywhere": "by ann", "backout.dev/paused": "by ann"},
			"shop": {
				"backout.dev/paused": "false", "backout.dev/paused.web": ledger.PauseNote(time.Now(), time.Hour, "ann", ""), "backout.dev/paused.api": "by bob",
				"backout.dev/paused.old": "until 1999-01-01T00:00:00Z", "backout.dev/paused.NO": "by bob", "backout.dev/paused-everywhere": "by bob", "other": "x",
			},
		} {
			if _, err := client.CoreV1().ConfigMaps(namespace).Create(t.Context(), annotated(namespace, annotations), metav1.CreateOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		registry, leads := prometheus.NewRegistry(), errors.New("another replica leads")
		gauge := ledger.NewPauseGauge(newLedger(client, "shop"), []string{"shop"}, func() error { return leads }, registry)
		go func() { _ = gauge.Run(t.Context()) }()
		const header = "# HELP backout_paused Pauses, by what is paused: a release, with an empty release its namespace, with an empty namespace everything. ends says whether the pause ends by itself. 1 for each pause, else no series; the leader alone has them.\n# TYPE backout_paused gauge\n"
		everywhere, api, web := `backout_paused{ends="false",namespace="",release=""} 1`, `backout_paused{ends="false",namespace="shop",release="api"} 1`, `backout_paused{ends="true",namespace="shop",release="web"} 1`
		for _, step := range []struct {
			after time.Duration
			leads error
			want  []string
		}{
			{time.Second, nil, nil},
			{time.Minute, nil, []string{everywhere, api, web}},
			{time.Hour, nil, []string{everywhere, api}},
			{0, leads, []string{everywhere, api}},
			{time.Minute, leads, nil},
		} {
			time.Sleep(step.after)
			synctest.Wait()
			want := ""
			if step.want != nil {
				want = header + strings.Join(step.want, "\n") + "\n"
			}
			if err := testutil.GatherAndCompare(registry, strings.NewReader(want), "backout_paused"); err != nil {
				t.Errorf("%s later: %v", step.after, err)
			}
			leads = step.leads
		}
	})
}
