package helm

import (
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"k8s.io/client-go/rest"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/overload"
)

// overloads remembers whether the last write of a rollback's objects was one that the API server
// did not take on: Helm puts the errors of several objects into one text. Its zero value has
// seen none. It is safe for concurrent use.
type overloads struct {
	seen  atomic.Bool
	after atomic.Int64 // seconds
}

// of returns err as a *rollback.OverloadedError if it is that of a write that was not taken on.
func (o *overloads) of(err error) error {
	if err == nil || overload.Is(err) || !o.seen.Load() {
		return overload.Of(err)
	}
	return &rollback.OverloadedError{RetryAfter: time.Duration(o.after.Load()) * time.Second, Err: err}
}

// observe returns a copy of the configuration whose writes o remembers.
func (o *overloads) observe(config *rest.Config) *rest.Config {
	config = rest.CopyConfig(config)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return overloadTransport{next, o} })
	return config
}

type overloadTransport struct {
	next http.RoundTripper
	*overloads
}

// RoundTrip implements http.RoundTripper.
func (t overloadTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := t.next.RoundTrip(r)
	if err != nil || !writes(r) {
		return response, err
	}
	switch response.StatusCode {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		seconds, _ := strconv.Atoi(response.Header.Get("Retry-After"))
		t.after.Store(int64(seconds))
		t.seen.Store(true)
	default:
		t.seen.Store(false)
	}
	return response, nil
}

// WrappedRoundTripper lets client-go close idle connections.
func (t overloadTransport) WrappedRoundTripper() http.RoundTripper { return t.next }
