package prom

import (
	"cmp"
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

func newServer(address string, transport http.RoundTripper) (server, error) {
	u, err := parseURL(address)
	if err != nil {
		return server{}, err
	}
	client, err := api.NewClient(api.Config{Address: address, RoundTripper: transport})
	if err != nil {
		return server{}, fmt.Errorf("make a client for %s: %s", name(u), reason(err))
	}
	return server{name: name(u), client: client}, nil
}

// kind is what one server knows about an alert.
type kind int

const (
	// unclear: it cannot be told, for the reason given.
	unclear kind = iota
	// firing: it fired.
	firing
	// quiet: the rule was evaluated since, and did not fire.
	quiet
	// ruleless: the server does not have the rule.
	ruleless
)

// finding is what one server answered.
type finding struct {
	server int
	kind   kind
	// since is the earliest active-since time, by this machine's clock; zero if
	// the server does not tell.
	since  time.Time
	reason string
}

// ask finds out what the server knows, with one request if the alert fired and
// with three if not. Their order makes quiet certain: Prometheus stores what an
// evaluation found before it counts the evaluation as done, so a query that
// begins after the evaluation was seen sees what it found.
func (s server) ask(ctx context.Context, i int, q question) finding {
	doubt := func(format string, args ...any) finding {
		return finding{server: i, kind: unclear, reason: oneLine(fmt.Sprintf(format, args...))}
	}
	first, err := s.history(ctx, q)
	if err != nil {
		return doubt("%s", reason(err))
	}
	if first.fired {
		return finding{server: i, kind: firing, since: first.since}
	}
	now, err := s.rules(ctx, q)
	switch {
	case err != nil:
		return doubt("%s", reason(err))
	case !now.loaded:
		return finding{server: i, kind: ruleless}
	case now.fired:
		return finding{server: i, kind: firing, since: first.here(now.since)}
	case now.failure != "":
		return doubt("the rule %s fails: %s; correct the rule", q.alert, now.failure)
	case now.evaluated.Before(first.there(q.at)):
		return doubt("the rule %s was not evaluated since the time in question; ask again", q.alert)
	}
	last, err := s.history(ctx, q)
	lacks := cmp.Or(first.lacks, now.lacks, last.lacks)
	switch {
	case err != nil:
		return doubt("%s", reason(err))
	case last.fired:
		return finding{server: i, kind: firing, since: last.since}
	case lacks != "":
		return doubt("the alert %s fires there without the label %s: have the rule set it, not the way to Alertmanager", q.alert, lacks)
	default:
		return finding{server: i, kind: quiet}
	}
}

// sum evaluates the query as of at and adds up what it yields.
func (s server) sum(ctx context.Context, query string, at time.Time) (float64, error) {
	sent := time.Now()
	clock, err := s.vector(ctx, "vector(0)", time.Time{})
	if err != nil {
		return 0, err
	}
	if len(clock) != 1 {
		return 0, errTimeless
	}
	vector, err := s.vector(ctx, query, at.Add(clock[0].Timestamp.Time().Sub(sent)))
	if err != nil {
		return 0, err
	}
	var total float64
	for _, sample := range vector {
		total += float64(sample.Value)
	}
	if math.IsNaN(total) || math.IsInf(total, 0) {
		return 0, fmt.Errorf("BACKOUT_TRAFFIC_QUERY yields %g, which is no number of requests", total)
	}
	return total, nil
}

// errTimeless says that a query that always yields something has yielded nothing.
var errTimeless = errors.New("it does not tell its time, as Prometheus would; check the address in BACKOUT_PROMETHEUS_URLS")

// vector evaluates a query; a zero time is the server's present. What only a part
// of a distributed Prometheus answered is an error: the rest may say otherwise.
func (s server) vector(ctx context.Context, query string, at time.Time) (model.Vector, error) {
	value, warnings, _, err := promv1.NewAPI(s.client).Query(ctx, query, at)
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
		return nil, fmt.Errorf("the query %s yields a %T, not a vector", query, value)
	}
}
