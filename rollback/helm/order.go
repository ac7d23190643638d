package helm

import (
	"errors"
	"net/http"
	"sync/atomic"

	"k8s.io/client-go/rest"
)

// errUnwritten keeps objects from being written out of order.
var errUnwritten = errors.New("an object before this one could not be written: the rest waits for the next attempt")

// ordered refuses to write after a write that failed. Helm collects such errors
// and goes on: pods would start with a ConfigMap that is still the accused
// revision's, and nothing would start them again once it is the target's.
type ordered struct {
	next   http.RoundTripper
	failed *atomic.Bool
}

// inOrder returns a copy of config for the objects of one rollback.
func inOrder(config *rest.Config) *rest.Config {
	config = rest.CopyConfig(config)
	var failed atomic.Bool
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return ordered{next, &failed} })
	return config
}

// RoundTrip sends the request, or returns errUnwritten without having sent
// anything.
func (o ordered) RoundTrip(r *http.Request) (*http.Response, error) {
	if !writes(r) {
		return o.next.RoundTrip(r)
	}
	if o.failed.Load() {
		if r.Body != nil {
			return nil, errors.Join(errUnwritten, r.Body.Close())
		}
		return nil, errUnwritten
	}
	response, err := o.next.RoundTrip(r)
	if err != nil || refused(r, response.StatusCode) {
		o.failed.Store(true)
	}
	return response, err
}

// WrappedRoundTripper lets client-go close idle connections.
func (o ordered) WrappedRoundTripper() http.RoundTripper { return o.next }

// refused reports whether the answer ends the rollback. What is to be deleted may
// be gone, and client-go itself repeats what comes too fast.
func refused(r *http.Request, status int) bool {
	switch {
	case status < http.StatusBadRequest, status == http.StatusTooManyRequests:
		return false
	case status == http.StatusNotFound:
		return r.Method != http.MethodDelete
	default:
		return true
	}
}
