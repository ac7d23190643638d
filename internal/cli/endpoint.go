package cli

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/upcommerce/backout/rollback"
)

// maxResponse limits the body of a response, in bytes.
const maxResponse = 16 << 20

// maxErrorText bounds how much of a response an error quotes, in runes.
const maxErrorText = 500

// endpoint is a running backout, as its HTTP clients see it.
type endpoint struct {
	// webhook and ops are URLs without a path.
	webhook, ops string
	// These files have the bearer tokens of the two listeners, the CAs of the webhook's
	// certificate, and a client certificate with its key; "" is no file.
	token, opsToken, ca, cert, key string

	client *http.Client
}

// connect makes the HTTP client, with the certificates of the files.
func (e *endpoint) connect() error {
	settings := &tls.Config{MinVersion: tls.VersionTLS12}
	if e.ca != "" {
		text, err := os.ReadFile(e.ca)
		if err != nil {
			return fmt.Errorf("read the CAs: %w", err)
		}
		settings.RootCAs = x509.NewCertPool()
		if !settings.RootCAs.AppendCertsFromPEM(text) {
			return fmt.Errorf("read the CAs: %s has no certificate in PEM", e.ca)
		}
	}
	if e.cert != "" {
		pair, err := tls.LoadX509KeyPair(e.cert, e.key)
		if err != nil {
			return fmt.Errorf("read the client certificate: %w; set --cert-file and --key-file", err)
		}
		settings.Certificates = []tls.Certificate{pair}
	}
	e.client = &http.Client{Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: settings}}
	return nil
}

// post posts one firing alert as Alertmanager does.
func (e *endpoint) post(ctx context.Context, labels map[string]string, fingerprint string) error {
	body, err := json.Marshal(map[string]any{
		"version": "4", "status": "firing", "receiver": "backout", "groupKey": "{}:{" + labels["alertname"] + "}",
		"groupLabels": map[string]string{}, "commonLabels": labels, "commonAnnotations": map[string]string{},
		"alerts": []map[string]any{{
			"status": "firing", "labels": labels, "fingerprint": fingerprint, "startsAt": time.Now().UTC(),
			"annotations": map[string]string{"summary": "A check of backout itself; nothing is wrong"},
		}},
	})
	if err != nil {
		return fmt.Errorf("encode the alert: %w", err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, e.webhook+"/api/v1/alerts", bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("post the alert: %w; set --webhook", err)
	}
	request.Header.Set("Content-Type", "application/json")
	if err := authorize(request, e.token); err != nil {
		return err
	}
	if _, err := e.do(request); err != nil {
		return fmt.Errorf("post the alert: %w", err)
	}
	return nil
}

// authorize adds the bearer token in the file to a request; nothing if that is "".
func authorize(request *http.Request, file string) error {
	if file == "" {
		return nil
	}
	token, err := os.ReadFile(file) //nolint:gosec // the operator names the file
	if err != nil {
		return fmt.Errorf("read the token: %w", err)
	}
	request.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	return nil
}

// records returns the records that the ops listener serves below the path. Records that
// backout itself cannot read are an error.
func (e *endpoint) records(ctx context.Context, path string) ([]rollback.Record, error) {
	text, err := e.get(ctx, "/api/v1/records"+path)
	if err != nil {
		return nil, err
	}
	var answer struct {
		Records    []rollback.Record
		Unreadable string
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		return nil, fmt.Errorf("read the records: %w", err)
	}
	if answer.Unreadable != "" {
		return answer.Records, fmt.Errorf("read the records: %s", answer.Unreadable)
	}
	return answer.Records, nil
}

// get requests a path of the ops listener.
func (e *endpoint) get(ctx context.Context, path string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, e.ops+path, nil)
	if err != nil {
		return nil, fmt.Errorf("request %s: %w; set --ops", path, err)
	}
	if err := authorize(request, e.opsToken); err != nil {
		return nil, err
	}
	text, err := e.do(request)
	if errors.Is(err, errRefused) {
		err = fmt.Errorf("%w; %s", err, e.opsHint(err))
	}
	return text, err
}

// opsHint says what to do about an ops listener that refuses a request: with
// BACKOUT_OPS_AUTH=kubernetes it asks the API server about the token.
func (e *endpoint) opsHint(refused error) string {
	const right = "an account that may get the nonResourceURL /backout/*"
	switch {
	case e.opsToken == "":
		return "backout asks its readers for a token: set --ops-token-file to a file with that of " + right + "; kubectl create token makes one"
	case errors.Is(refused, errForbidden):
		return "set --ops-token-file to a file with the token of " + right
	default:
		return "the API server does not know the token in --ops-token-file: make another one with kubectl create token"
	}
}

// errRefused says that the listener refuses the token of a request, or demands one; errForbidden that
// it is a token without the right.
var (
	errRefused   = errors.New("refused")
	errForbidden = errors.New("forbidden")
)

// do returns the body of a response with status 200; any other status is an error, 401 and 403
// errRefused.
func (e *endpoint) do(request *http.Request) ([]byte, error) {
	response, err := e.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(response.Body, maxResponse))
	if err == nil && response.StatusCode != http.StatusOK {
		err = errors.New(rollback.Short(rollback.Printable(response.Status+": "+string(text)), maxErrorText))
	}
	switch response.StatusCode {
	case http.StatusUnauthorized:
		err = fmt.Errorf("%w: %w", errRefused, err)
	case http.StatusForbidden:
		err = fmt.Errorf("%w: %w: %w", errRefused, errForbidden, err)
	}
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", request.Method, request.URL, err)
	}
	return text, nil
}
