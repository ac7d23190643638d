package prom

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"

	promv1 "github.com/prometheus/client_golang/api/prometheus/v1"
	promconfig "github.com/prometheus/common/config"

	"github.com/upcommerce/backout/rollback"
)

// maxResponse bounds a response, in bytes. A thousand alerts of one rule take one
// megabyte; Grafana is asked for those of one release, and for its rules in pages.
const maxResponse = 4 << 20

// maxReason bounds a reason, in runes.
const maxReason = 200

// newTransport sends the token and trusts the CAs of the configuration; it re-reads both
// files when they change.
func newTransport(a addresses) (http.RoundTripper, error) {
	h := promconfig.HTTPClientConfig{EnableHTTP2: true, TLSConfig: promconfig.TLSConfig{CAFile: a.caFile}}
	if a.tokenFile != "" {
		token, err := os.ReadFile(a.tokenFile)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", a.kind.tokenFile(), err)
		}
		if len(bytes.TrimSpace(token)) == 0 {
			return nil, fmt.Errorf("%s: %s is empty: put a token into it", a.kind.tokenFile(), a.tokenFile)
		}
		h.Authorization = &promconfig.Authorization{Type: "Bearer", CredentialsFile: a.tokenFile}
	}
	t, err := promconfig.NewRoundTripperFromConfig(h, "prometheus", promconfig.WithUserAgent("backout"))
	if err != nil {
		// The token file is read with each request, so the error is about the CA file.
		return nil, fmt.Errorf("%s: %w; name a file with PEM certificates", a.kind.caFile(), err)
	}
	return transport{t, a.kind}, nil
}

// transport turns responses that no API of the servers would send into errors with a hint,
// and bounds the others. It follows no redirects: the server that one leads to was not
// configured and gets no token.
type transport struct {
	next http.RoundTripper
	kind kind
}

// RoundTrip implements http.RoundTripper.
func (t transport) RoundTrip(q *http.Request) (*http.Response, error) {
	r, err := t.next.RoundTrip(q)
	if certificate, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return nil, fmt.Errorf("%w; check %s", certificate, t.kind.caFile())
	}
	if err != nil {
		return nil, err
	}
	if hint := t.kind.hintFor(r.StatusCode); hint != "" {
		_ = r.Body.Close()
		return nil, fmt.Errorf("it responds %s: %s", r.Status, hint)
	}
	r.Body = &limitedBody{ReadCloser: r.Body, left: maxResponse, kind: t.kind}
	return r, nil
}

func (k kind) hintFor(status int) string {
	switch {
	case status >= 300 && status < 400:
		return "backout does not follow redirects; name the address that it redirects to in " + k.urls()
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return "check " + k.tokenFile()
	case status == http.StatusNotFound:
		return fmt.Sprintf("there is no %s API; check the path prefix in %s", k, k.urls())
	default:
		return ""
	}
}

// largeHint says what to do about a response that is too large.
func (k kind) largeHint() string {
	if k == grafanaServers {
		return "split the rule, so that each has fewer series, or update Grafana to a version that filters its list of rules (matcher, group_limit)"
	}
	return "split the rule, so that fewer series fire at once"
}

// limitedBody is a body that returns an error, instead of its end, when it is too long.
type limitedBody struct {
	io.ReadCloser
	left int
	kind kind
}

// Read implements io.Reader.
func (b *limitedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.left -= n; b.left < 0 {
		return 0, fmt.Errorf("its response is larger than %d MiB: %s", maxResponse>>20, b.kind.largeHint())
	}
	return n, err
}

// reason returns an error as one line without the address of the request, which may
// contain a password.
func reason(err error) string {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return noAnswer
	}
	if outer, ok := errors.AsType[*url.Error](err); ok {
		err = outer.Err
	}
	if api, ok := errors.AsType[*promv1.Error](err); ok {
		return oneLine(api.Msg)
	}
	return oneLine(err.Error())
}

// oneLine bounds a text that a server may have written.
func oneLine(s string) string { return rollback.Short(rollback.Printable(s), maxReason) }
