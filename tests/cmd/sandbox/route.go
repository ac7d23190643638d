package main

import (
	"context"
	"log/slog"
	"os"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/upcommerce/backout/tests/sandbox"
	"github.com/upcommerce/backout/tests/sandbox/router"
)

// routeUsers runs the router. Without it the sandbox is of no use: when it cannot run, everything ends.
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
