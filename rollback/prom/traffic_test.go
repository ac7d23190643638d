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
		{"the samples are added up", []*fake{{traffic: []string{"2.5", "4"}}}, 6.5, ""},
		{"no samples are no traffic", []*fake{{}}, 0, ""},
		{"the first server that answers counts", []*fake{nil, respond(503, ""), {traffic: []string{"3"}}}, 3, ""},
		{"no server answers", []*fake{nil, respond(503, "")}, 0, "server error: 503"},
		{"a value that is not a number is an error", []*fake{{traffic: []string{"NaN"}}}, 0, "not a number of requests"},
		{"a redirect is not followed", []*fake{respond(307, "")}, 0, "does not follow redirects"},
	} {
		got, err := newClient(t, prom.Config{URLs: start(t, c.servers...)}).CanaryTraffic(t.Context(), shop, receipt)
		switch {
		case (err != nil) != (c.says != ""):
			t.Errorf("%s: there is an error only if no server answers: got %v", c.what, err)
		case err != nil && (!strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), "web/shop")):
			t.Errorf("%s: the error has the reason and the release: want %q, got %v", c.what, c.says, err)
		case got != c.want:
			t.Errorf("%s: want %g, got %g", c.what, c.want, got)
		}
	}
}

// TestCanaryTrafficByAWrongClock queries a time of this machine's clock.
func TestCanaryTrafficByAWrongClock(t *testing.T) {
	for _, ahead := range []time.Duration{0, time.Minute, -time.Minute} {
		f := &fake{clockAhead: ahead, traffic: []string{"1"}}
		if _, err := newClient(t, prom.Config{URLs: start(t, f)}).CanaryTraffic(t.Context(), shop, receipt); err != nil {
			t.Fatal(err)
		}
		if off := f.evaluationTimes[len(f.evaluationTimes)-1].Sub(receipt).Abs(); off > 30*time.Second {
			t.Errorf("the query is for the given time, by a clock that is ahead by %s: it is off by %s", ahead, off)
		}
	}
}

func TestTrafficQuery(t *testing.T) {
	f := &fake{}
	client := newClient(t, prom.Config{URLs: start(t, f), TrafficQuery: `sum(rate(traefik_service_requests_total{service=~"$namespace-$release-canary-.*$"}[1m]))`})
	if _, err := client.CanaryTraffic(t.Context(), shop, receipt); err != nil {
		t.Fatal(err)
	}
	if got, want := f.queries[len(f.queries)-1], `sum(rate(traefik_service_requests_total{service=~"web-shop-canary-.*$"}[1m]))`; got != want {
		t.Errorf("the query contains the release's names: want %s, got %s", want, got)
	}
	sent := len(f.queries)
	for _, name := range []string{`shop"} or vector(1)`, `shop\`, `shop'`, "shop`"} {
		if _, err := client.CanaryTraffic(t.Context(), rollback.Key{Namespace: "web", Release: name}, receipt); err == nil || len(f.queries) != sent {
			t.Errorf("a name that could end a string of the query is refused: %s", name)
		}
	}
}
