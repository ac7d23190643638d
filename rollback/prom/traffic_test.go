package prom_test

import (
	"strings"
	"testing"
	"time"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/prom"
)

func TestCanaryTraffic(t *testing.T) {
	for _, c := range []struct {
		what    string
		servers []*fake
		want    float64
		says    string
	}{
		{"the sum of what the query yields", []*fake{{traffic: []string{"2.5", "4"}}}, 6.5, ""},
		{"nothing counted is no traffic", []*fake{{}}, 0, ""},
		{"whoever answers", []*fake{nil, refuse(503, ""), {traffic: []string{"3"}}}, 3, ""},
		{"nobody answers", []*fake{nil, refuse(503, "")}, 0, "server error: 503"},
		{"what is no number is no answer", []*fake{{traffic: []string{"NaN"}}}, 0, "no number of requests"},
		{"a redirect is not followed", []*fake{refuse(307, "")}, 0, "redirects are not followed"},
	} {
		got, err := newClient(t, prom.Config{URLs: start(t, c.servers...)}).CanaryTraffic(t.Context(), shop, receipt)
		switch {
		case (err != nil) != (c.says != ""):
			t.Errorf("%s: only if nobody answers is there an error: got %v", c.what, err)
		case err != nil && (!strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), "web/shop")):
			t.Errorf("%s: the error says why, of which release: want %q, got %v", c.what, c.says, err)
		case got != c.want:
			t.Errorf("%s: want %g, got %g", c.what, c.want, got)
		}
	}
}

// TestCanaryTrafficAsOf asks about a time of this machine's clock.
func TestCanaryTrafficAsOf(t *testing.T) {
	for _, ahead := range []time.Duration{0, time.Minute, -time.Minute} {
		f := &fake{ahead: ahead, traffic: []string{"1"}}
		if _, err := newClient(t, prom.Config{URLs: start(t, f)}).CanaryTraffic(t.Context(), shop, receipt); err != nil {
			t.Fatal(err)
		}
		if off := f.evalued[len(f.evalued)-1].Sub(receipt).Abs(); off > 30*time.Second {
			t.Errorf("the traffic is that of the time in question, by a clock that is ahead by %s: it was asked for %s beside it", ahead, off)
		}
	}
}

func TestTrafficQuery(t *testing.T) {
	f := &fake{}
	client := newClient(t, prom.Config{URLs: start(t, f), TrafficQuery: `sum(rate(traefik_service_requests_total{service=~"$namespace-$release-canary-.*$"}[1m]))`})
	if _, err := client.CanaryTraffic(t.Context(), shop, receipt); err != nil {
		t.Fatal(err)
	}
	if got, want := f.asked[len(f.asked)-1], `sum(rate(traefik_service_requests_total{service=~"web-shop-canary-.*$"}[1m]))`; got != want {
		t.Errorf("the release's names stand in the query: want %s, got %s", want, got)
	}
	asked := len(f.asked)
	for _, name := range []string{`shop"} or vector(1)`, `shop\`, `shop'`, "shop`"} {
		if _, err := client.CanaryTraffic(t.Context(), rollback.Key{Namespace: "web", Release: name}, receipt); err == nil || len(f.asked) != asked {
			t.Errorf("a name that could end a string of the query is refused: %s", name)
		}
	}
}
