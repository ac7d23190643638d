// Package upcommerce does the UpCommerce exercise on a cluster: a storefront with a
// canary at 20% of the traffic, monitoring, a new canary, a rollback by hand, and then
// what the exercise is for: bad canaries that are backed out of by their alerts. It
// writes down what it measures, as the exercise's answers.yml.
package upcommerce

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
	"github.com/upcommerce/backout/tests/stage"
)

// The exercise's names and numbers.
const (
	Namespace = stage.Namespace
	Release   = stage.Release
	// percent of the traffic goes to the canary.
	percent = 20
	// measured is how many requests a split is measured with. The original sent
	// original ones, whose share says little.
	measured = 1000
	original = 20
	// perSecond is how many requests shoppers send all the time.
	perSecond = 40
)

// Ground is the cluster that the exercise is done on, with backout, Prometheus and
// Alertmanager running.
type Ground struct {
	// On says what it is, one fact a line: names and versions.
	On []string
	// Config leads to the cluster. Helm runs helm there.
	Config *rest.Config
	Helm   func(ctx context.Context, args ...string) (string, error)
	// Chart is the chart canary-demo, as helm takes it, and Arguments come before the
	// exercise's own values: which image is run.
	Chart     string
	Arguments []string
	// Shoppers returns some who go to the storefront, by whatever routes to it; they
	// have not begun.
	Shoppers func() *stage.Shoppers
	// Host is what the storefront's Ingress answers, Address where its router is, for
	// where the Ingress does not say it.
	Host, Address string
	// Prometheus is asked; Scrape is how often it scrapes.
	Prometheus promv1.API
	Scrape     time.Duration
	// Environment are the variables by which FromEnvironment finds it again; nil where
	// it was found by them.
	Environment map[string]string
	// Ended is closed when backout has ended, where that can be seen; else nil.
	Ended <-chan struct{}
	// Beside is done while the traffic of v1 and v2 is measured for five minutes; nil:
	// nothing.
	Beside func(ctx context.Context) ([]Seconds, error)
}

func (g *Ground) key() rollback.Key { return rollback.Key{Namespace: Namespace, Release: Release} }

func (g *Ground) client() (kubernetes.Interface, error) {
	client, err := kubernetes.NewForConfig(g.Config)
	if err != nil {
		return nil, fmt.Errorf("make a Kubernetes client: %w", err)
	}
	return client, nil
}

// install installs or upgrades the storefront, with these values over the chart's
// own, and waits for its pods. Nothing of an earlier revision's values stays.
func (g *Ground) install(ctx context.Context, values ...string) error {
	args := append([]string{"upgrade", "--install", Release, g.Chart, "--namespace", Namespace, "--create-namespace"}, g.Arguments...)
	args = append(args, "--set-string", "ingress.host="+g.Host)
	for _, v := range values {
		args = append(args, "--set-string", v)
	}
	_, err := g.Helm(ctx, args...)
	return err
}

// ask returns the one value of a query, and an error if there is none.
func (g *Ground) ask(ctx context.Context, query string) (float64, error) {
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
