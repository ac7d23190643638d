package prom

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/api"
	promv1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
)

// server is one Prometheus.
type server struct {
	name   string
	client api.Client
}

func (s server) label() string { return s.name }

func newServer(address string, transport http.RoundTripper) (server, error) {
	u, err := parseURL(address)
	if err != nil {
		return server{}, err
	}
	client, err := api.NewClient(api.Config{Address: address, RoundTripper: transport})
	if err != nil {
		return server{}, fmt.Errorf("make a client for %s: %s", serverName(u), reason(err))
	}
	return server{name: serverName(u), client: client}, nil
}

// sum evaluates the query as of at and adds up its samples.
func (s server) sum(ctx context.Context, promQL string, at time.Time) (float64, error) {
	sent := time.Now()
	clock, err := s.vector(ctx, "vector(0)", time.Time{})
	if err != nil {
		return 0, err
	}
	if len(clock) != 1 {
		return 0, errNoTime
	}
	vector, err := s.vector(ctx, promQL, at.Add(clock[0].Timestamp.Time().Sub(sent)))
	if err != nil {
		return 0, err
	}
	var total float64
	for _, sample := range vector {
		total += float64(sample.Value)
	}
	if math.IsNaN(total) || math.IsInf(total, 0) {
		return 0, fmt.Errorf("BACKOUT_TRAFFIC_QUERY yields %g, which is not a number of requests", total)
	}
	return total, nil
}

// errNoTime says that a query that always has a sample returned none.
var errNoTime = errors.New("it does not return its time, as Prometheus would; check the address in BACKOUT_PROMETHEUS_URLS")

// vector evaluates a query; a zero time is the server's present. A warning is an error:
// only a part of a distributed Prometheus has answered, and the others may disagree.
func (s server) vector(ctx context.Context, promQL string, at time.Time) (model.Vector, error) {
	value, warnings, _, err := promv1.NewAPI(s.client).Query(ctx, promQL, at)
	if err != nil {
		return nil, err
	}
	if len(warnings) > 0 {
		return nil, fmt.Errorf("it warns: %s", warnings[0])
	}
	switch v := value.(type) {
	case model.Vector:
		return v, nil
	case *model.Scalar:
		return model.Vector{{Value: v.Value, Timestamp: v.Timestamp}}, nil
	default:
		return nil, fmt.Errorf("the query %s yields a %T, not a vector", promQL, value)
	}
}
