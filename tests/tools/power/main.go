// Command power measures the alert rules: for how many healthy canaries they fire, and how soon they fire for a bad one, in comparison
// with rules that other tools use.
//
// Canaries and all their requests are drawn at random, from a seed. The samples that Prometheus would scrape from their pods are written
// to Prometheus' own storage, and Prometheus' own engine evaluates the rules as they ship.
//
//	canary.go      canaries and their faults, drawn at random
//	life.go        how healthy canaries differ from warm ones that are equal to their stable track
//	pods.go        requests, counted and scraped
//	prometheus.go  storage and engine
//	rules.go       reads and evaluates rule files
//	sets.go        the alerts at each sensitivity
//	trial.go       many canaries and their outcomes
//	rivals.go      the rules of other tools
//	measure.go     the comparisons
//	population.go  healthy canaries of every kind, and young bad ones, at each sensitivity
//	tune.go        thresholds at equal false alarms, shares and quantiles
//	table.go       the tables
//	picture.go     the picture of docs/rules.md, from the tables
//	sample.go      a small sample as a file, for other engines
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
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
	file := flags.String("rules", "../../../rules/canary.rules.yml", "the rule file to measure")
	seed := flags.Uint64("seed", 1, "the seed of everything that is drawn")
	only := flags.String("only", "", "print only these tables: errors, latency, hour, life or young; several with |")
	column := flags.String("column", "", "of the tables life and young, print only the rows whose name contains this")
	scale := flags.Float64("scale", 1, "a factor for the number of canaries")
	sampleTo := flags.String("sample", "", "write a small sample, and when each alert fires for it, to this file, and measure nothing")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *sampleTo != "" {
		return writeSample(ctx, *file, *sampleTo)
	}
	rules, err := LoadRules(*file, "rivals.rules.yml")
	if err != nil {
		return err
	}
	sets, err := LoadSets(filepath.Join(filepath.Dir(*file), "sensitivities.yml"))
	if err != nil {
		return err
	}
	m := measurement{rules: rules, sets: sets, column: *column, seed: *seed, scale: *scale, out: out, progress: progress, began: time.Now()}
	for _, part := range []struct {
		name    string
		measure func(context.Context) error
	}{{"errors", m.errors}, {"latency", m.latency}, {"hour", m.hour}, {"life", m.life}, {"young", m.young}} {
		if *only != "" && !slices.Contains(strings.Split(*only, "|"), part.name) {
			continue
		}
		if err := part.measure(ctx); err != nil {
			return err
		}
	}
	return nil
}
