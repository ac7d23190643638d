package prom_test

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/upcommerce/backout/rollback/prom"
)

// watched runs a client on the server until it has queried it once, and returns what it
// found out.
func watched(t *testing.T, f *fake) (problems []string, canConfirm float64, log string) {
	t.Helper()
	registry, text := prometheus.NewRegistry(), &bytes.Buffer{}
	client, err := prom.New(prom.Options{
		Config: prom.Config{URLs: start(t, f)}, Registerer: registry, Log: slog.New(slog.NewTextHandler(text, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := client.Run(ctx); err != nil {
		t.Errorf("Run ends with its context: got %v", err)
	}
	families, err := registry.Gather()
	if err != nil || len(families) != 1 || testutil.CollectAndCount(registry, "backout_prometheus_can_confirm") != 1 {
		t.Fatalf("one series for each server: got %v, %v", families, err)
	}
	return client.Problems(), families[0].GetMetric()[0].GetGauge().GetValue(), text.String()
}

func TestAServerThatCannotConfirmIsReported(t *testing.T) {
	for _, c := range []struct {
		what   string
		server *fake
		says   string // "" if it can
	}{
		{"a server that has a rule with a backout label can confirm", evaluated(ago(time.Second)), ""},
		{"a server without one does not evaluate backout's rules", &fake{rules: []rule{{name: "Slow"}, {name: "BackoutWatchdog", level: "watchdog"}}}, "it has no alert rule with a backout label; load the rules, or name"},
		{"a server that filters nothing is read all the same", &fake{unfiltered: true, rules: []rule{{name: "Slow"}}}, "it has no alert rule with a backout label"},
		{"a server that is down cannot confirm", nil, "connection refused"},
		{"nor can one that refuses", respond(http.StatusForbidden, ""), "check BACKOUT_PROMETHEUS_TOKEN_FILE"},
	} {
		problems, canConfirm, log := watched(t, c.server)
		if c.says == "" {
			if len(problems) != 0 || canConfirm != 1 || log != "" {
				t.Errorf("%s: got %q, %g, and the log %s", c.what, problems, canConfirm, log)
			}
			continue
		}
		if len(problems) != 1 || !strings.Contains(problems[0], c.says) || canConfirm != 0 || strings.Count(log, "alerts cannot be confirmed") != 1 {
			t.Errorf("%s: want %q, 0 and a line in the log; got %q, %g, and the log %s", c.what, c.says, problems, canConfirm, log)
		}
	}
}

func TestWithoutRunNoProblemIsKnown(t *testing.T) {
	if got := newClient(t, prom.Config{URLs: start(t, nil)}).Problems(); len(got) != 0 {
		t.Errorf("a client that has not queried its servers knows of no problem: got %q", got)
	}
}
