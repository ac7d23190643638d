// Package exercise does the UpCommerce exercise on a cluster: a storefront with a
// canary at 20% of the traffic, monitoring, a new canary, a manual rollback, and at last
// bad canaries that backout rolls back because of their alerts. It writes its measurements
// as the exercise's answers.yml.
package exercise

import (
	"context"
	"errors"
	"fmt"
	"time"

	promv1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/tests/env/stage"
)

// The exercise's names and numbers.
const (
	Namespace = stage.Namespace
	Release   = stage.Release
	// percent of the traffic goes to the canary.
	percent = 20
	// measured is the number of requests for measuring a split. The original exercise sent
	// original requests, whose share says little.
	measured = 1000
	original = 20
	// perSecond is the shoppers' requests per second.
	perSecond = 40
)

// Ground is the cluster of the exercise, with backout, Prometheus and Alertmanager running.
type Ground struct {
	// On contains names and versions, one fact per line.
	On []string
	// Config is for clients of the cluster. Helm runs helm there.
	Config *rest.Config
	Helm   func(ctx context.Context, args ...string) (string, error)
	// Chart is the path of the chart canary-demo. Arguments come before the exercise's own
	// values, and set the image.
	Chart     string
	Arguments []string
	// Shoppers returns shoppers of the storefront, who use the cluster's router. They send
	// nothing yet.
	Shoppers func() *stage.Shoppers
	// Host is the host name of the storefront's Ingress, Address the address of its router,
	// for an Ingress without one.
	Host, Address string
	// Prometheus is a client; Scrape is the scrape interval.
	Prometheus promv1.API
	Scrape     time.Duration
	// Window is that of the rates in the answers, and how long the traffic of v1 and v2 is
	// measured.
	Window time.Duration
	// LooksBack is how far the alerts look back that are about v3: BACKOUT_WINDOWS.
	LooksBack time.Duration
	// Environment has the variables with which FromEnvironment finds this ground; nil if it
	// returned this ground.
	Environment map[string]string
	// Ended is closed when backout has ended; nil if that cannot be observed.
	Ended <-chan struct{}
	// InParallel runs while the traffic of v1 and v2 is measured; nil: nothing does.
	InParallel func(ctx context.Context) ([]Seconds, error)
}

func (g *Ground) key() rollback.Key { return rollback.Key{Namespace: Namespace, Release: Release} }

func (g *Ground) client() (kubernetes.Interface, error) {
	client, err := kubernetes.NewForConfig(g.Config)
	if err != nil {
		return nil, fmt.Errorf("make a Kubernetes client: %w", err)
	}
	return client, nil
}

// install installs or upgrades the storefront with these values over the chart's own. It
// keeps no values of an earlier revision, and does not wait for pods.
func (g *Ground) install(ctx context.Context, values ...string) error {
	args := append([]string{"upgrade", "--install", Release, g.Chart, "--namespace", Namespace, "--create-namespace"}, g.Arguments...)
	args = append(args, "--set-string", "ingress.host="+g.Host)
	for _, v := range values {
		args = append(args, "--set-string", v)
	}
	_, err := g.Helm(ctx, args...)
	return err
}

// query returns the value of a query that has exactly one series.
func (g *Ground) query(ctx context.Context, query string) (float64, error) {
	vector, err := g.vector(ctx, query)
	if err != nil {
		return 0, err
	}
	if len(vector) != 1 {
		return 0, fmt.Errorf("query %s: %d series, want one; is the storefront scraped?", query, len(vector))
	}
	return float64(vector[0].Value), nil
}

func (g *Ground) vector(ctx context.Context, query string) (model.Vector, error) {
	answer, _, _, err := g.Prometheus.Query(ctx, query, time.Now())
	if err != nil {
		return nil, fmt.Errorf("query %s: %w", query, err)
	}
	vector, ok := answer.(model.Vector)
	if !ok {
		return nil, fmt.Errorf("query %s: the answer is a %s, not a vector", query, answer.Type())
	}
	return vector, nil
}

// eventually tries until it succeeds or ctx ends.
func eventually(ctx context.Context, try func() error) error {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		case <-tick.C:
		}
	}
}
