package sandbox

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"time"
)

// KubeStateMetricsOptions say how a kube-state-metrics is run.
type KubeStateMetricsOptions struct {
	// LabelsAllowlist is --metric-labels-allowlist; "": none of the objects' labels are shown, as by default.
	LabelsAllowlist string
	// Port is the TCP port inside; 0: 8181. The next one is taken too.
	Port int
}

// KubeStateMetrics is a real kube-state-metrics that runs inside.
type KubeStateMetrics struct {
	child *Child
	inner string // host:port
}

// KubeStateMetricsProgram is the kube-state-metrics that the module in tests/kube-state-metrics pins. It is not among Programs:
// only the tests of the alert rules need it.
func KubeStateMetricsProgram() Binary {
	return Binary{
		Name:    "kube-state-metrics",
		Module:  "tests/kube-state-metrics",
		Package: "k8s.io/kube-state-metrics/v2",
		LDFlags: "-s -w",
	}
}

// KubeStateMetrics builds kube-state-metrics if need be, runs one inside that tells of pods and Services, and returns when it
// answers and reaches the API server.
func (s *Sandbox) KubeStateMetrics(ctx context.Context, o KubeStateMetricsOptions) (*KubeStateMetrics, error) {
	if o.Port == 0 {
		o.Port = 8181
	}
	program, err := Build(ctx, KubeStateMetricsProgram(), s.progress)
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

// Target is where it is scraped, as PrometheusOptions.Targets take it.
func (k *KubeStateMetrics) Target() string { return k.inner }

// Child is the process, to freeze it or kill it.
func (k *KubeStateMetrics) Child() *Child { return k.child }

// awaitReady asks url until it says 200, ctx ends or kube-state-metrics does.
func (k *KubeStateMetrics) awaitReady(ctx context.Context, url string) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ask(ctx, url)
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

func ask(ctx context.Context, url string) error {
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	r, err := http.DefaultClient.Do(q)
	if err != nil {
		return err
	}
	defer func() { _ = r.Body.Close() }()
	if r.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s", url, r.Status)
	}
	return nil
}
