package scenarios

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/api"
	promv1 "github.com/prometheus/client_golang/api/prometheus/v1"

	"github.com/upcommerce/backout/dashboards"
	"github.com/upcommerce/backout/tests/panels"
	"github.com/upcommerce/backout/tests/sandbox"
)

// dashboardsTell checks that Prometheus takes every query of the dashboards, and that each panel shows something of what has
// happened since, or says why it may be empty. It prints what they show.
func dashboardsTell(t *testing.T, p *sandbox.Prometheus, since time.Time) {
	t.Helper()
	client, err := api.NewClient(api.Config{Address: p.URL()})
	if err != nil {
		t.Fatal(err)
	}
	all, err := dashboards.All()
	if err != nil {
		t.Fatal(err)
	}
	for name, d := range all {
		board, err := panels.Ask(limited(t), panels.Question{
			Dashboard: d, Prometheus: promv1.NewAPI(client), Start: since, End: time.Now(), Scrape: time.Second,
		})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, p := range board.Panels {
			if len(p.Series) == 0 && !panels.Excused(p.Panel) {
				t.Errorf("%s: the panel %q is empty after a rollback, and does not say why", name, p.Title)
			}
		}
		if len(board.Moments) != 1 {
			t.Errorf("%s: %d rollbacks stand as annotations, want the one there was", name, len(board.Moments))
		}
		t.Logf("%s\n%s", d.Title, board.Table())
	}
}
