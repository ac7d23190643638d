// Command upcommerce does the UpCommerce exercise from start to finish, shows what each
// step proves, and writes the answers. By default it opens a sandbox of its own. With
// UPCOMMERCE_URL it uses the cluster of KUBECONFIG, on which everything from
// docs/upcommerce.md must be installed. With KEEP=1 the sandbox stays open until Ctrl-C.
package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"github.com/upcommerce/backout/tests/env/progress"
	"github.com/upcommerce/backout/tests/tools/upcommerce/exercise"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx)
	interrupted := ctx.Err() != nil
	stop()
	switch {
	case err != nil && interrupted:
		fmt.Fprintln(os.Stderr, "upcommerce: interrupted; no answers were written")
		os.Exit(130)
	case err != nil:
		fmt.Fprintln(os.Stderr, "upcommerce:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) (err error) {
	if len(os.Args) != 2 {
		return errors.New("name the file for the answers, as in: upcommerce answers.yml")
	}
	bar := progress.New(os.Stderr)
	defer bar.End()
	ground, leave, err := exercise.Find(ctx, bar)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, leave()) }()
	answers, err := exercise.Do(ctx, ground, os.Stdout, bar)
	if err != nil {
		return err
	}
	if err := answers.Write(os.Args[1]); err != nil {
		return err
	}
	fmt.Printf("\nThe answers are in %s.\n", os.Args[1])
	if os.Getenv("KEEP") != "" && ground.Environment != nil {
		explain(ground)
		<-ctx.Done()
	}
	return nil
}

// explain prints how to use the open sandbox.
func explain(g *exercise.Ground) {
	fmt.Println("\nThe sandbox stays open until Ctrl-C. In another terminal:")
	for _, name := range slices.Sorted(maps.Keys(g.Environment)) {
		fmt.Printf("  export %s=%s\n", name, g.Environment[name])
	}
	fmt.Printf("  kubectl get pods,ingresses,configmaps -n %s\n  cd tests && go test -count=1 -v -run TestARunningDeployment ./e2e/upcommerce\n", exercise.Namespace)
}
