package scenarios

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/api"
	promv1 "github.com/prometheus/client_golang/api/prometheus/v1"

	"github.com/upcommerce/backout/dashboards"
	"github.com/upcommerce/backout/tests/env/sandbox"
	"github.com/upcommerce/backout/tests/tools/panels/grafana"
)

// checkDashboards checks that Prometheus accepts every query of the dashboards, and that each panel shows something of the time
// since then, or says why it may be empty. It prints the panels.
func checkDashboards(t *testing.T, p *sandbox.Prometheus, since time.Time) {
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
		board, err := grafana.Query(limited(t), grafana.Request{
			Dashboard: d, Prometheus: promv1.NewAPI(client), Start: since, End: time.Now(), Scrape: time.Second,
		})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, p := range board.Panels {
			if len(p.Series) == 0 && !grafana.MayBeEmpty(p.Panel) {
				t.Errorf("%s: the panel %q is empty after a rollback, and its description does not say why", name, p.Title)
			}
		}
		if len(board.Annotations) != 1 {
			t.Errorf("%s: %d annotations for one rollback", name, len(board.Annotations))
		}
		t.Logf("%s\n%s", d.Title, board.Table())
	}
}
