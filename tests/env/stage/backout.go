package stage

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/tests/env/sandbox"
)

// Token is the bearer token of alerts on every stage.
const Token = "a-token-for-the-stage"

// Backout is a running backout.
type Backout struct {
	Child *sandbox.Child
	// Inside is the URL that Alertmanager posts alerts to, TokenFile the path of its token.
	Inside, TokenFile string

	webhook, ops string
	client       *http.Client
}

// webhookAddress and opsAddress are the addresses inside the sandbox on which the backout
// of that number listens.
func webhookAddress(number int) string { return address(8080, number) }
func opsAddress(number int) string     { return address(9090, number) }

func address(port, number int) string {
	return net.JoinHostPort(sandbox.InnerAddress, strconv.Itoa(port+10*number))
}

// BackoutPath is the path of the backout program, for callers that run it themselves.
func (s *Stage) BackoutPath() string { return s.paths.backout }

// Backout runs backout inside the sandbox, outside of the cluster, with a
// kubeconfig, and returns when it is ready. env overrides an environment that opts
// the namespace's releases in. Several may run, each with its own number.
func (s *Stage) Backout(ctx context.Context, number int, env map[string]string) (*Backout, error) {
	tokenFile := filepath.Join(s.Sandbox.Dir(), "token")
	if err := os.WriteFile(tokenFile, []byte(Token+"\n"), 0o600); err != nil {
		return nil, fmt.Errorf("write the token: %w", err)
	}
	all := map[string]string{
		"KUBECONFIG":         s.Sandbox.InnerKubeconfig(),
		"BACKOUT_LISTEN":     webhookAddress(number),
		"BACKOUT_OPS_LISTEN": opsAddress(number),
		"BACKOUT_TOKENS":     "*:" + tokenFile,
		"BACKOUT_RELEASES":   Namespace + "/*",
		"BACKOUT_LOG_FORMAT": "text",
		// Verified at once: most stories end there.
		"BACKOUT_VERIFY": "1s", "BACKOUT_VERIFY_LIMIT": "3s",
	}
	maps.Copy(all, env)
	var pairs []string
	for _, name := range slices.Sorted(maps.Keys(all)) {
		pairs = append(pairs, name+"="+all[name])
	}
	child, err := s.Sandbox.Run(ctx, sandbox.Process{Name: "backout", Path: s.paths.backout, Env: pairs})
	if err != nil {
		return nil, err
	}
	b := &Backout{
		Child: child, Inside: "http://" + webhookAddress(number) + "/api/v1/alerts", TokenFile: tokenFile,
		client: &http.Client{Timeout: 15 * time.Second},
	}
	if b.webhook, err = s.Sandbox.Forward(ctx, webhookAddress(number)); err != nil {
		return nil, err
	}
	if b.ops, err = s.Sandbox.Forward(ctx, opsAddress(number)); err != nil {
		return nil, err
	}
	return b, b.awaitReady(ctx)
}

// WebhookURL is the webhook's URL on the host.
func (b *Backout) WebhookURL() string { return "http://" + b.webhook + "/api/v1/alerts" }

// OpsURL is the ops listener's URL on the host, without a path.
func (b *Backout) OpsURL() string { return "http://" + b.ops }

func (b *Backout) awaitReady(ctx context.Context) error {
	for {
		code, _, err := b.Get(ctx, "/readyz")
		if err == nil && code == http.StatusOK {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for backout: %w", ctx.Err())
		case <-b.Child.Done():
			text, _ := os.ReadFile(b.Child.Log())
			return fmt.Errorf("wait for backout: %w\n%s", errors.Join(errors.New("it has ended"), b.Child.Err()), text)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Get sends a GET request to the ops listener.
func (b *Backout) Get(ctx context.Context, path string) (int, string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, b.OpsURL()+path, nil)
	if err != nil {
		return 0, "", err
	}
	return b.do(request)
}

// Post posts a body to the webhook with a token, "" for none.
func (b *Backout) Post(ctx context.Context, token string, body []byte) (int, string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, b.WebhookURL(), bytes.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	return b.do(request)
}

func (b *Backout) do(request *http.Request) (int, string, error) {
	response, err := b.client.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	return response.StatusCode, string(text), err
}

// Records returns the release's records as the ops listener shows them.
func (b *Backout) Records(ctx context.Context, release string) ([]rollback.Record, error) {
	_, text, err := b.Get(ctx, "/api/v1/records/"+Namespace+"/"+release)
	if err != nil {
		return nil, err
	}
	var answer struct{ Records []rollback.Record }
	if err := json.Unmarshal([]byte(text), &answer); err != nil {
		return nil, fmt.Errorf("decode the records: %w\n%s", err, text)
	}
	return answer.Records, nil
}
