package notify

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/upcommerce/backout/rollback"
)

// errLater says that the server asks to wait.
type errLater struct {
	after time.Duration
}

// Error implements error.
func (e errLater) Error() string { return fmt.Sprintf("it asks to wait for %s", e.after) }

// errRefused says that the server will refuse the same request again, until an operator
// fixes something.
var errRefused = errors.New("it refuses")

// newClient returns a client that follows no redirects: they lead to addresses that are
// not configured, which must not receive anything.
func newClient(transport http.RoundTripper) *http.Client {
	return &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// maxAnswer bounds how much of an answer is read, in bytes.
const maxAnswer = 4 << 10

// post posts JSON to an address that may be a secret: no error contains it.
func post(ctx context.Context, client *http.Client, to string, body []byte, header http.Header) error {
	q, err := http.NewRequestWithContext(ctx, http.MethodPost, to, bytes.NewReader(body))
	if err != nil {
		return errors.New("the address is not valid: want https://host/path")
	}
	q.Header = header.Clone()
	q.Header.Set("User-Agent", "backout")
	answer, err := client.Do(q)
	if err != nil {
		return bare(err)
	}
	defer func() { _ = answer.Body.Close() }()
	text, _ := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	return answerError(answer, string(text), to)
}

// answerError returns the error for an answer, nil for success.
func answerError(answer *http.Response, text, secret string) error {
	switch code := answer.StatusCode; {
	case code >= 200 && code < 300:
		return nil
	case code == http.StatusTooManyRequests, code == http.StatusServiceUnavailable && answer.Header.Get("Retry-After") != "":
		return errLater{retryAfter(answer.Header.Get("Retry-After"), time.Now())}
	case code >= 300 && code < 400:
		return fmt.Errorf("%w: it answers %s; backout follows no redirects: configure the address that it leads to", errRefused, answer.Status)
	case code >= 400 && code < 500 && code != http.StatusRequestTimeout:
		return fmt.Errorf("%w: it answers %s: %s", errRefused, answer.Status, without(text, secret))
	default:
		return fmt.Errorf("it answers %s: %s", answer.Status, without(text, secret))
	}
}

// Bounds of the time that a server may ask to wait.
const (
	leastWait = time.Second
	mostWait  = 15 * time.Minute
)

// retryAfter reads seconds or a date.
func retryAfter(text string, now time.Time) time.Duration {
	wait := leastWait
	if n, err := strconv.Atoi(strings.TrimSpace(text)); err == nil && n < int(mostWait/time.Second) {
		wait = time.Duration(n) * time.Second
	} else if at, err := http.ParseTime(text); err == nil {
		wait = at.Sub(now)
	} else if n > 0 {
		wait = mostWait
	}
	return min(max(wait, leastWait), mostWait)
}

// bare returns an error without the address of the request.
func bare(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return errors.New("it did not answer in time")
	}
	if errors.Is(err, context.Canceled) {
		return context.Canceled
	}
	if outer, ok := errors.AsType[*url.Error](err); ok {
		err = outer.Err
	}
	return err
}

// maxReason bounds how much of an answer an error quotes, in runes.
const maxReason = 150

// without bounds a text that the server wrote, and removes a secret from it.
func without(text, secret string) string {
	if secret != "" {
		text = strings.ReplaceAll(text, secret, "…")
		if u, err := url.Parse(secret); err == nil && len(u.Path) > 1 {
			text = strings.ReplaceAll(text, u.Path, "…")
		}
	}
	return rollback.Short(rollback.Printable(text), maxReason)
}

// secret reads a file with one secret. It is read for each use, so that a new secret
// counts at once; no error contains it.
func secret(path string) (string, error) {
	text, err := os.ReadFile(path) //nolint:gosec // The configuration names the files.
	if err != nil {
		return "", fmt.Errorf("read %s: %w", path, errors.Unwrap(err))
	}
	s := strings.TrimSpace(string(text))
	if s == "" {
		return "", fmt.Errorf("read %s: it is empty", path)
	}
	return s, nil
}

// secretURL reads a file with an address.
func secretURL(path string) (string, error) {
	text, err := secret(path)
	if err != nil {
		return "", err
	}
	if u, err := url.Parse(text); err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return "", fmt.Errorf("read %s: it contains no address; want https://host/path", path)
	}
	return text, nil
}
