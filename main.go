// Command backout takes bad canaries out of rotation and rolls their Helm releases back
// when Alertmanager posts an alert about them. Without a command it serves; package cli
// has the commands.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/sethvargo/go-envconfig"

	"github.com/upcommerce/backout/internal/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	program := cli.New(envconfig.OsLookuper(), os.Args)
	err := program.ExecuteContext(ctx)
	stop()
	if err != nil {
		program.PrintErrln("backout:", err)
		os.Exit(1)
	}
}
