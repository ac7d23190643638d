package sandbox

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"time"

	"github.com/upcommerce/backout/tests/env/programs"
)

// KubeStateMetricsOptions configure a kube-state-metrics.
type KubeStateMetricsOptions struct {
	// LabelsAllowlist is --metric-labels-allowlist; "": no labels of objects are exported, as by default.
	LabelsAllowlist string
	// Port is the TCP port inside; 0: 8181. It also uses the next port.
	Port int
}

// KubeStateMetrics is a real kube-state-metrics that runs inside.
type KubeStateMetrics struct {
	child *Child
	inner string // host:port
}

// KubeStateMetrics builds kube-state-metrics if necessary, runs one inside that exports pods and Services, and returns when it
// answers and reaches the API server.
func (s *Sandbox) KubeStateMetrics(ctx context.Context, o KubeStateMetricsOptions) (*KubeStateMetrics, error) {
	if o.Port == 0 {
		o.Port = 8181
	}
	program, err := programs.Build(ctx, programs.KubeStateMetrics(), s.progress)
	if err != nil {
		return nil, err
	}
	s.progress("starting kube-state-metrics")
	child, err := s.Run(ctx, Process{
		Name: "kube-state-metrics",
		Path: program,
		Args: []string{
			"--kubeconfig=" + s.InnerKubeconfig(),
			"--host=" + InnerAddress, "--port=" + strconv.Itoa(o.Port),
			"--telemetry-host=" + InnerAddress, "--telemetry-port=" + strconv.Itoa(o.Port+1),
			"--resources=pods,services",
			"--metric-labels-allowlist=" + o.LabelsAllowlist,
		},
		Env: []string{"HOME=" + filepath.Join(s.Dir(), "run")},
	})
	if err != nil {
		return nil, err
	}
	k := &KubeStateMetrics{child: child, inner: net.JoinHostPort(InnerAddress, strconv.Itoa(o.Port))}
	host, err := s.Forward(ctx, k.inner)
	if err != nil {
		return nil, err
	}
	return k, k.awaitReady(ctx, "http://"+host+"/livez")
}

// Target is its address for PrometheusOptions.Targets.
func (k *KubeStateMetrics) Target() string { return k.inner }

// Child is its process, to freeze it or kill it.
func (k *KubeStateMetrics) Child() *Child { return k.child }

// awaitReady polls url until it answers 200, or ctx or kube-state-metrics ends.
func (k *KubeStateMetrics) awaitReady(ctx context.Context, url string) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := get(ctx, url)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for kube-state-metrics: %w (last answer: %w)", context.Cause(ctx), err)
		case <-k.child.Done():
			return fmt.Errorf("wait for kube-state-metrics: %w%s", k.child.Err(), quoteTail(k.child.Log()))
		case <-tick.C:
		}
	}
}

// get returns an error unless the URL answers 200.
func get(ctx context.Context, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s", url, answer.Status)
	}
	return nil
}
