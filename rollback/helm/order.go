package helm

import (
	"errors"
	"net/http"
	"sync/atomic"

	"k8s.io/client-go/rest"
)

// errNotWritten says that an object was not written because one before it failed.
var errNotWritten = errors.New("an object before this one could not be written: the others wait for the next attempt")

// orderedTransport refuses to write after a write that failed. Helm collects such errors
// and continues: pods would start with a ConfigMap that is still the suspect revision's,
// and nothing would restart them once it is the target's.
type orderedTransport struct {
	next   http.RoundTripper
	failed *atomic.Bool
}

// writeInOrder returns a copy of config for the objects of one rollback.
func writeInOrder(config *rest.Config) *rest.Config {
	config = rest.CopyConfig(config)
	var failed atomic.Bool
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return orderedTransport{next, &failed} })
	return config
}

// RoundTrip sends the request, or returns errNotWritten without having sent anything.
func (o orderedTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if !writes(r) {
		return o.next.RoundTrip(r)
	}
	if o.failed.Load() {
		if r.Body != nil {
			return nil, errors.Join(errNotWritten, r.Body.Close())
		}
		return nil, errNotWritten
	}
	response, err := o.next.RoundTrip(r)
	if err != nil || endsRollback(r, response.StatusCode) {
		o.failed.Store(true)
	}
	return response, err
}

// WrappedRoundTripper lets client-go close idle connections.
func (o orderedTransport) WrappedRoundTripper() http.RoundTripper { return o.next }

// endsRollback reports whether the response ends the rollback. A missing object is no
// obstacle to its deletion, and client-go repeats requests that come too fast.
func endsRollback(r *http.Request, status int) bool {
	switch {
	case status < http.StatusBadRequest, status == http.StatusTooManyRequests:
		return false
	case status == http.StatusNotFound:
		return r.Method != http.MethodDelete
	default:
		return true
	}
}
