// Command victoriametrics evaluates the alert rules by vmalert on VictoriaMetrics, for a sample of tests/tools/power, and compares the outcome
// with Prometheus' own. Storage, queries and ruler are VictoriaMetrics' own code; only the clock is simulated.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/VictoriaMetrics/VictoriaMetrics/app/vmalert/config"

	"github.com/upcommerce/backout/tests/tools/engines"
)

// version is the version of VictoriaMetrics in go.mod.
const version = "v1.151.0"

func main() {
	sample := flag.String("sample", "", "the file of a sample, written by power -sample")
	staged := flag.String("rules", "", "the rule file for VictoriaMetrics; those of other presets are arguments, and only read")
	plain := flag.String("plain", "", "the rule file for Prometheus, to show the difference")
	flag.Parse()
	if err := run(context.Background(), *sample, *staged, *plain); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, path, staged, plain string) error {
	s, err := engines.Read(path)
	if err != nil {
		return err
	}
	v, err := newVictoria()
	if err != nil {
		return err
	}
	defer v.stop()
	for _, other := range flag.Args() {
		if _, err := config.Parse([]string{other}, nil, true); err != nil {
			return fmt.Errorf("read %s: %w", other, err)
		}
	}
	engines.Header(os.Stdout)
	ruler := "vmalert " + version
	if plain != "" {
		o, err := v.evaluate(ctx, s, plain)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		o.Ruler, o.Rules = ruler, "for Prometheus"
		s.Agree(o, os.Stdout, io.Discard)
	}
	o, err := v.evaluate(ctx, s, staged)
	if err != nil {
		return err
	}
	o.Ruler, o.Rules = ruler, "`--engine victoriametrics`"
	if !s.Agree(o, os.Stdout, os.Stderr) {
		return fmt.Errorf("%s does not agree with Prometheus", ruler)
	}
	return nil
}
