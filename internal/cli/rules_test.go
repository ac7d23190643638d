package cli

import (
	"bytes"
	"strings"
	"testing"

	"github.com/sethvargo/go-envconfig"

	"github.com/upcommerce/backout/rules"
)

func TestTheRulesCommand(t *testing.T) {
	for _, tt := range []struct {
		args string
		// The output contains has, or the error contains fails.
		has, fails string
	}{
		{args: "", has: "http_requests_total{"},
		{args: "--preset istio", has: "istio_requests_total{"},
		{args: "--set z=4.5,requests=100", has: "vector(4.5)"},
		{args: "--set z=4.5 --set requests=100", has: "vector(100)"},
		{args: "--engine victoriametrics", has: "increase_prometheus("},
		{args: "--engine victoriametrics --preset app-native", fails: "use --preset app, or evaluate the rules with Prometheus"},
		{args: "--engine mimir", fails: strings.Join(rules.Engines(), ", ")},
		{args: "--own --engine thanos", fails: "[engine own]"},
		{args: "--own", has: "alert: BackoutDown"},
		{args: "--own --preset istio", fails: "[own preset]"},
		{args: "--preset haproxy", fails: strings.Join(rules.Presets(), ", ")},
		{args: "--set zz=1", fails: "z, z_slow"},
		{args: "--set z=high", fails: "--set z=high: want a number"},
		{args: "--set z=NaN", fails: "z: NaN is no threshold"},
	} {
		t.Run(tt.args, func(t *testing.T) {
			c := New(envconfig.MapLookuper(nil), append([]string{"backout", "rules"}, strings.Fields(tt.args)...))
			var out bytes.Buffer
			c.SetOut(&out)
			err := c.ExecuteContext(t.Context())
			switch {
			case tt.fails == "" && (err != nil || !strings.Contains(out.String(), tt.has)):
				t.Errorf("%v; want %q in:\n%s", err, tt.has, out.String())
			case tt.fails != "" && (err == nil || !strings.Contains(err.Error(), tt.fails) || out.Len() > 0):
				t.Errorf("%v; want an error with %q, and no output", err, tt.fails)
			}
		})
	}
}
