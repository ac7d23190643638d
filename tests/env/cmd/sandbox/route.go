package main

import (
	"context"
	"log/slog"
	"os"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/upcommerce/backout/tests/env/sandbox"
	"github.com/upcommerce/backout/tests/env/sandbox/router"
)

// routeUsers runs the router. When the router ends, the sandbox ends: it is of no use without it.
func routeUsers(ctx context.Context, l sandbox.Layout) {
	config, err := clientcmd.BuildConfigFromFlags("", l.InnerKubeconfig())
	if err == nil {
		config.QPS = -1
		err = router.Run(ctx, router.Options{
			Config:     config,
			Address:    sandbox.RouterAddress,
			Gateway:    types.NamespacedName{Namespace: sandbox.GatewayNamespace, Name: sandbox.GatewayName},
			Controller: sandbox.GatewayController,
			Log:        slog.New(slog.NewTextHandler(os.Stderr, nil)),
		})
	}
	if err != nil {
		reportEnd(err)
		os.Exit(1)
	}
}
