package prom_test

import (
	"testing"
	"time"

	"github.com/upcommerce/backout/rollback/prom"
)

// evidence has the rule BadCanary, which fires.
func evidence(r rule, changes ...func(*alert)) *fake {
	a := alert{labels: labels(), from: ago(time.Hour), since: ago(time.Hour)}
	for _, change := range changes {
		change(&a)
	}
	r.name, r.health, r.level = "BadCanary", "ok", "rollback"
	return &fake{rules: []rule{r}, alerts: []alert{a}}
}

func TestEvidenceFrom(t *testing.T) {
	at := receipt
	kept := func(a *alert) { a.kept = true }
	other := func(a *alert) { a.labels = labels("version", "v2") }
	pending := func(a *alert) { a.pending = true }
	for name, tt := range map[string]struct {
		fakes []*fake
		// window is how far back it looked from at; 0 if that is not known.
		window time.Duration
	}{
		"the annotation":                 {[]*fake{evidence(rule{evaluated: at, window: "1m", query: "track:errors:ratio1m > 0.1"})}, time.Minute},
		"the longest range":              {[]*fake{evidence(rule{evaluated: at, query: `rate(errors{code=~"5[0-9:]@"}[30s]) / rate(requests[2m]) > 0.1`})}, 2 * time.Minute},
		"ranges and offsets":             {[]*fake{evidence(rule{evaluated: at, query: "increase(errors[1m]) > 2 * increase(errors[1m] OFFSET 5m)"})}, 6 * time.Minute},
		"recorded series":                {[]*fake{evidence(rule{evaluated: at, query: "track:errors:ratio1m > rate(errors[1m])"})}, 0},
		"a subquery":                     {[]*fake{evidence(rule{evaluated: at, query: "max_over_time(rate(errors[1m])[5m:10s]) > 1"})}, 0},
		"no range":                       {[]*fake{evidence(rule{evaluated: at, query: "error_ratio > 0.1"})}, 0},
		"a range that is not known":      {[]*fake{evidence(rule{evaluated: at, query: "rate(errors[1m + 1m]) > 0.1"})}, 0},
		"an annotation that is no time":  {[]*fake{evidence(rule{evaluated: at, window: "{{ $value }}", query: "rate(errors[1m])"})}, 0},
		"the group began before":         {[]*fake{evidence(rule{evaluated: at.Add(5 * time.Second), group: at, window: "1m"})}, time.Minute},
		"fires because of its past":      {[]*fake{evidence(rule{evaluated: at, window: "1m"}, kept)}, 0},
		"a server that does not say why": {[]*fake{evidence(rule{evaluated: at, window: "1m", silent: true})}, 0},
		"another version":                {[]*fake{evidence(rule{evaluated: at, window: "1m"}, other)}, 0},
		"pending":                        {[]*fake{evidence(rule{evaluated: at, window: "1m"}, pending)}, 0},
		"a server that is away":          {[]*fake{nil}, 0},
		"one of two servers": {[]*fake{
			evidence(rule{evaluated: at, window: "1m"}, kept), evidence(rule{evaluated: at, window: "1m"}),
		}, time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			c := newClient(t, prom.Config{URLs: start(t, tt.fakes...)})
			from := c.EvidenceFrom(t.Context(), shop, badCanary)
			if tt.window == 0 {
				if !from.IsZero() {
					t.Errorf("evidence from %s, want that it is not known", from)
				}
				return
			}
			if late := from.Sub(at.Add(-tt.window)); late > 0 || late < -2*time.Second {
				t.Errorf("evidence from %s, want %s before the evaluation at %s", from, tt.window, at)
			}
		})
	}
}

// The server's clock is wrong.
func TestEvidenceIsByThisMachinesClock(t *testing.T) {
	for _, ahead := range []time.Duration{time.Hour, -time.Hour} {
		f := evidence(rule{evaluated: receipt, window: "1m"})
		f.clockAhead = ahead
		from := newClient(t, prom.Config{URLs: start(t, f)}).EvidenceFrom(t.Context(), shop, badCanary)
		if late := from.Sub(receipt.Add(-time.Minute)); late > 0 || late < -2*time.Second {
			t.Errorf("evidence from %s with a clock that is %s ahead, want a minute before %s", from, ahead, receipt)
		}
	}
}
