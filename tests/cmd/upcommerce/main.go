// Command upcommerce does the UpCommerce exercise from start to finish, shows what
// each step proves, and writes the answers. Without anything in the environment it
// does so on a sandbox of its own. With UPCOMMERCE_URL it does so on the cluster that
// KUBECONFIG leads to, which has to have what docs/upcommerce.md installs.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/upcommerce/backout/tests/progress"
	"github.com/upcommerce/backout/tests/upcommerce"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := exercise(ctx)
	stop()
	switch {
	case errors.Is(err, context.Canceled):
		fmt.Fprintln(os.Stderr, "upcommerce: interrupted; no answers were written")
		os.Exit(130)
	case err != nil:
		fmt.Fprintln(os.Stderr, "upcommerce:", err)
		os.Exit(1)
	}
}

func exercise(ctx context.Context) (err error) {
	if len(os.Args) != 2 {
		return errors.New("name the file that the answers are written to, as in: upcommerce answers.yml")
	}
	bar := progress.New(os.Stderr)
	defer bar.End()
	ground, leave, err := upcommerce.Find(ctx, bar)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, leave()) }()
	answers, err := upcommerce.Do(ctx, ground, os.Stdout, bar)
	if err != nil {
		return err
	}
	if err := answers.Write(os.Args[1]); err != nil {
		return err
	}
	fmt.Printf("\nThe answers are in %s.\n", os.Args[1])
	return nil
}
