// Command panels asks a Prometheus for every panel of backout's dashboards, prints
// what each shows, and draws them as SVG and, with Chromium, as PNG.
//
//	go run ./cmd/panels -prometheus http://127.0.0.1:9090 -for 5m -out ../bin/dashboards
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

	"github.com/upcommerce/backout/tests/panels"
)

func main() {
	var (
		address = flag.String("prometheus", "http://127.0.0.1:9090", "URL of the Prometheus")
		scrape  = flag.Duration("scrape", time.Second, "how often it scrapes")
		span    = flag.Duration("for", 5*time.Minute, "how much time the panels show")
		end     = flag.String("end", "", "until when, as 2006-01-02T15:04:05Z; now if empty")
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
		err = panels.Show(ctx, panels.Question{
			Prometheus: promv1.NewAPI(client), Start: until.Add(-*span), End: until, Scrape: *scrape,
		}, *out, os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "panels:", err)
		os.Exit(1)
	}
}
