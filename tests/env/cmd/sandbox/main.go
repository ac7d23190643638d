// Command sandbox holds a real Kubernetes control plane open for kubectl and helm: sandbox hold, or for the tests that a developer
// runs one at a time: sandbox keep. Tests and the demo start the same program through package sandbox.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/upcommerce/backout/tests/env/sandbox"
)

const usage = `usage: sandbox hold [flags]
       sandbox keep [flags]
       sandbox parts

hold opens a Kubernetes control plane on this machine, without root or Docker, and holds it until Ctrl-C. keep has one ready for the
next test, until Ctrl-C. parts prints which parts of Kubernetes it has.

`

func main() {
	if len(os.Args) == 3 && os.Args[1] == sandbox.InnerRole {
		liveInside(context.Background(), os.Args[2])
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	code := command(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// runner is a command with flags.
type runner interface {
	addFlags(f *flag.FlagSet)
	run(ctx context.Context, out, errOut io.Writer) error
}

func commands() map[string]runner { return map[string]runner{"hold": &hold{}, "keep": &keep{}} }

// command runs the command in the arguments and returns the exit code.
func command(ctx context.Context, args []string, out, errOut io.Writer) int {
	if len(args) == 1 && args[0] == "parts" {
		printParts(out)
		return 0
	}
	if len(args) == 0 || commands()[args[0]] == nil {
		fmt.Fprint(errOut, usage)
		return 2
	}
	chosen := commands()[args[0]]
	flags := flag.NewFlagSet("sandbox "+args[0], flag.ContinueOnError)
	flags.SetOutput(errOut)
	flags.Usage = func() {
		fmt.Fprint(errOut, usage)
		flags.PrintDefaults()
	}
	chosen.addFlags(flags)
	if err := flags.Parse(args[1:]); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return 0
		}
		return 2
	}
	if flags.NArg() > 0 {
		flags.Usage()
		return 2
	}
	if err := chosen.run(ctx, out, errOut); err != nil {
		fmt.Fprintln(errOut, err)
		return 1
	}
	return 0
}
