// Command demo shows backout: a canary turns bad, an alert fires at a real Alertmanager, and
// backout rolls a real Helm release back. It prints the events at the API server, and ends
// with exit code 0 only if all of them happened.
//
// By default it opens a sandbox on this machine. With -context NAME it uses the cluster of
// that context of the kubeconfig, in namespaces of its own.
//
//	story.go       the story, the same on both
//	show.go        its end: the timeline and all that is left in the cluster
//	sandbox.go     the sandbox; compilation.go compiles what the second act needs
//	cluster.go     a cluster that exists, from its first request to the clean-up
//	kubeconfig.go  which cluster that is
//	namespaces.go  the namespaces of the demo
//	router.go      the router that splits the traffic; forward.go forwards a port to ingress-nginx
//	monitoring.go  backout, Prometheus and Alertmanager as pods
//	images.go      images that the cluster lacks
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/upcommerce/backout/tests/env/progress"
)

// keepFiring is how long an alert goes on firing when its cause is gone. The shipped rules say
// a minute, which only makes the end of the story wait.
const keepFiring = time.Second

// errKept is the interruption of a demo that leaves its namespaces.
var errKept = errors.New("interrupted; the namespaces of the demo are still there")

func main() {
	demo, chosen := onSandbox, false
	v := visit{out: os.Stdout, keep: os.Getenv("KEEP") != ""}
	flag.Func("context", "play on the cluster of this `context` of the kubeconfig; without it, on a sandbox", func(name string) error {
		v.context, chosen, demo = name, true, v.play
		return nil
	})
	flag.StringVar(&v.router, "router", os.Getenv("ROUTER"), "`URL` of that cluster's router; by default the variable ROUTER; without both the demo forwards a port to ingress-nginx")
	flag.StringVar(&v.gateway, "gateway", os.Getenv("GATEWAY"), "`NAMESPACE/NAME` of a Gateway of that cluster, for an HTTPRoute in place of Ingresses; by default the variable GATEWAY")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintln(os.Stderr, "demo: it takes flags only; try -help")
		os.Exit(2)
	}
	if !chosen && os.Getenv("CONTEXT") != "" {
		fmt.Fprintln(os.Stderr, "demo: a variable CONTEXT chooses no cluster, so this is a sandbox; the cluster is an argument, as in make demo CONTEXT=kind-kind")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	bar := progress.New(os.Stderr)
	err := demo(ctx, bar)
	bar.End()
	stop()
	switch {
	case errors.Is(err, errKept):
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(130)
	case errors.Is(err, context.Canceled):
		fmt.Fprintln(os.Stderr, "demo: interrupted; nothing is left behind")
		os.Exit(130)
	case err != nil:
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}
