package helm

import (
	"errors"
	"fmt"
	"net/http"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// fencedTransport calls the fence before every request that writes. All clients of this
// package, and those that Helm creates for itself, send through it.
type fencedTransport struct {
	next  http.RoundTripper
	fence func() error
}

// RoundTrip sends the request, or returns the fence's error without having sent
// anything.
func (f fencedTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if writes(r) {
		if err := f.fence(); err != nil {
			if r.Body != nil {
				err = errors.Join(err, r.Body.Close())
			}
			return nil, fmt.Errorf("nothing was sent: %w", err)
		}
	}
	return f.next.RoundTrip(r)
}

// WrappedRoundTripper lets client-go close idle connections.
func (f fencedTransport) WrappedRoundTripper() http.RoundTripper { return f.next }

// writes reports whether the request may change anything. A DELETE with a body may,
// whatever its query says: the API server then reads the options from the body and
// ignores those of the query.
func writes(r *http.Request) bool {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return false
	case http.MethodDelete:
		return r.Body != nil && r.Body != http.NoBody || !isDryRun(r)
	default:
		return !isDryRun(r)
	}
}

func isDryRun(r *http.Request) bool { return r.URL.Query().Get("dryRun") == metav1.DryRunAll }
