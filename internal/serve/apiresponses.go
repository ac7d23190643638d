package serve

import (
	"errors"
	"fmt"
	"io"
	"net/http"

	"k8s.io/client-go/rest"
)

// maxResponse bounds one response of the API server, in bytes: client-go reads it as a
// whole, and other clients decide how many objects of a megabyte each match a list. The
// metadata of ten thousand revisions has 10 MB. Watches have no bound.
const maxResponse = 32 << 20

// errResponseTooLarge says that a response exceeds maxResponse.
var errResponseTooLarge = errors.New("the API server's response is too large")

// boundResponses returns a copy of the configuration whose clients read no response beyond
// the bound.
func boundResponses(config *rest.Config) *rest.Config {
	config = rest.CopyConfig(config)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return boundedTransport{next} })
	return config
}

type boundedTransport struct{ next http.RoundTripper }

// RoundTrip passes the request on. Reading the response's body fails beyond the bound.
func (t boundedTransport) RoundTrip(q *http.Request) (*http.Response, error) {
	answer, err := t.next.RoundTrip(q)
	if err == nil && q.URL.Query().Get("watch") != "true" && answer.StatusCode != http.StatusSwitchingProtocols {
		answer.Body = &boundedBody{ReadCloser: answer.Body, left: maxResponse, path: q.URL.Path}
	}
	return answer, err
}

// WrappedRoundTripper lets client-go close idle connections.
func (t boundedTransport) WrappedRoundTripper() http.RoundTripper { return t.next }

// boundedBody is the body of a response. Its path is for the error.
type boundedBody struct {
	io.ReadCloser

	left int64
	path string
}

// Read reads, or returns errResponseTooLarge.
func (b *boundedBody) Read(text []byte) (int, error) {
	n, err := b.ReadCloser.Read(text)
	if b.left -= int64(n); b.left < 0 {
		return 0, fmt.Errorf("read %s: %w: more than %d MiB; does another client fill the namespace?", b.path, errResponseTooLarge, maxResponse>>20)
	}
	return n, err
}
