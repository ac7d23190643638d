// Command power measures the alert rules: how many healthy canaries they accuse, and how soon they accuse a bad one, beside what
// others use.
//
// Canaries are drawn at random, by a seed, and so is every request of theirs. What scrapes of their pods would have seen goes into
// Prometheus' own storage, and Prometheus' own engine evaluates the rules as they ship.
//
//	canary.go      what is drawn
//	pods.go        the requests, counted and scraped
//	prometheus.go  storage and engine
//	rules.go       rule files, evaluated
//	trial.go       many canaries at once, and what became of them
//	rivals.go      what others use
//	tune.go        thresholds at equal false alarms, shares and quantiles
//	table.go       what is printed
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out, progress io.Writer) error {
	flags := flag.NewFlagSet("power", flag.ContinueOnError)
	flags.SetOutput(progress)
	file := flags.String("rules", "../../rules/canary.rules.yml", "the rule file to measure")
	seed := flags.Uint64("seed", 1, "decides everything that is drawn")
	only := flags.String("only", "", "errors, latency or hour: no other table")
	scale := flags.Float64("scale", 1, "how many canaries, as a factor")
	if err := flags.Parse(args); err != nil {
		return err
	}
	rules, err := LoadRules(*file, "rivals.rules.yml")
	if err != nil {
		return err
	}
	m := measurement{rules: rules, seed: *seed, scale: *scale, out: out, progress: progress, began: time.Now()}
	for _, part := range []struct {
		name    string
		measure func(context.Context) error
	}{{"errors", m.errors}, {"latency", m.latency}, {"hour", m.hour}} {
		if *only != "" && *only != part.name {
			continue
		}
		if err := part.measure(ctx); err != nil {
			return err
		}
	}
	return nil
}
