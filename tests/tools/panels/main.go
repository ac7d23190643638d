// Command panels runs the queries of every panel of backout's dashboards on a Prometheus,
// prints the results, and draws the panels as SVG and, with Chromium, as PNG.
//
//	go run ./tools/panels -prometheus http://127.0.0.1:9090 -for 5m -out ../bin/dashboards
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"time"

	"github.com/prometheus/client_golang/api"
	promv1 "github.com/prometheus/client_golang/api/prometheus/v1"

	"github.com/upcommerce/backout/tests/tools/panels/grafana"
)

func main() {
	var (
		address = flag.String("prometheus", "http://127.0.0.1:9090", "URL of the Prometheus")
		scrape  = flag.Duration("scrape", time.Second, "its scrape interval")
		span    = flag.Duration("for", 5*time.Minute, "the time range of the panels")
		end     = flag.String("end", "", "the end of the time range, as 2006-01-02T15:04:05Z; now if empty")
		out     = flag.String("out", "", "folder for the pictures; none are drawn if empty")
	)
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	until := time.Now()
	if *end != "" {
		var err error
		if until, err = time.Parse(time.RFC3339, *end); err != nil {
			fmt.Fprintln(os.Stderr, "panels: -end:", err)
			os.Exit(2)
		}
	}
	client, err := api.NewClient(api.Config{Address: *address})
	if err == nil {
		err = grafana.Show(ctx, grafana.Request{
			Prometheus: promv1.NewAPI(client), Start: until.Add(-*span), End: until, Scrape: *scrape,
		}, *out, os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "panels:", err)
		os.Exit(1)
	}
}
