package controlplane

import (
	"context"
	"errors"
	"fmt"
	"net/url"

	"go.etcd.io/etcd/server/v3/embed"
)

// EtcdURL is etcd's address for the API server. A fixed loopback port is free: every sandbox has a network of its own.
const EtcdURL = "http://127.0.0.1:2379"

// startEtcd starts a single etcd member and returns when it answers. It keeps its data in dir, and does not sync it to the disk:
// a sandbox never survives its process.
func startEtcd(ctx context.Context, dir string) error {
	client, err := url.Parse(EtcdURL)
	if err != nil {
		return fmt.Errorf("parse etcd's address: %w", err)
	}
	peer := &url.URL{Scheme: "http", Host: "127.0.0.1:2380"}

	c := embed.NewConfig()
	c.Name = "sandbox"
	c.Dir = dir
	c.UnsafeNoFsync = true
	c.LogLevel = "warn"
	c.LogOutputs = []string{"stderr"}
	c.ListenClientUrls, c.AdvertiseClientUrls = []url.URL{*client}, []url.URL{*client}
	c.ListenPeerUrls, c.AdvertisePeerUrls = []url.URL{*peer}, []url.URL{*peer}
	c.InitialCluster = c.InitialClusterFromName(c.Name)
	// A single member need not wait for the heartbeats of others before it elects itself.
	c.TickMs, c.ElectionMs = 10, 100

	e, err := embed.StartEtcd(c)
	if err != nil {
		return fmt.Errorf("start etcd: %w", err)
	}
	select {
	case <-e.Server.ReadyNotify():
		return nil
	case err := <-e.Err():
		return fmt.Errorf("run etcd: %w", err)
	case <-e.Server.StopNotify():
		return fmt.Errorf("run etcd: %w", errors.Join(errEnded, ctx.Err()))
	case <-ctx.Done():
		return ctx.Err()
	}
}
