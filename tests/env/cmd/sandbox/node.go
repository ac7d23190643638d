package main

import (
	"context"
	"log/slog"
	"net/netip"
	"os"

	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/upcommerce/backout/tests/env/programs"
	"github.com/upcommerce/backout/tests/env/sandbox"
	"github.com/upcommerce/backout/tests/env/sandbox/inside"
	"github.com/upcommerce/backout/tests/env/sandbox/kubelet"
	"github.com/upcommerce/backout/tests/env/sandbox/kubelet/cell"
	"github.com/upcommerce/backout/tests/env/sandbox/services"
)

// runPods runs the kubelet and the Service proxy. When one of them ends, the sandbox ends.
func runPods(ctx context.Context, l sandbox.Layout, s *inside.Supervisor) {
	if err := joinCluster(ctx, l, s); err != nil {
		reportEnd(err)
		os.Exit(1)
	}
}

func joinCluster(ctx context.Context, l sandbox.Layout, s *inside.Supervisor) error {
	config, err := clientcmd.BuildConfigFromFlags("", l.InnerKubeconfig())
	if err != nil {
		return err
	}
	config.QPS = -1
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	proxy, err := services.New(services.Options{Client: client, CIDR: netip.MustParsePrefix(sandbox.ServiceCIDR), Log: log})
	if err != nil {
		return err
	}
	bridge := netip.MustParsePrefix(sandbox.BridgeAddress)
	node, err := kubelet.New(kubelet.Options{
		Node:       sandbox.NodeName,
		Version:    programs.Kubernetes,
		Client:     client,
		Supervisor: s,
		Bridge:     cell.NewBridge(inside.BridgeName, bridge),
		PodCIDR:    bridge.Masked().String(),
		Images:     func() (kubelet.Images, error) { return images(l) },
		Dir:        l.Dir,
		APIServer:  sandbox.APIServerServiceIP,
		Log:        log,
	})
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return proxy.Run(ctx) })
	group.Go(func() error { return node.Run(ctx) })
	group.Go(func() error {
		return services.Publish(ctx, client, netip.AddrPortFrom(bridge.Addr(), sandbox.APIServerPort))
	})
	return group.Wait()
}

// images reads the images from the settings, which the test that takes a kept sandbox writes.
func images(l sandbox.Layout) (kubelet.Images, error) {
	s, err := l.ReadSettings()
	return kubelet.Images{Programs: s.Images, Unpullable: s.Unpullable}, err
}
