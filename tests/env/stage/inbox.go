package stage

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/upcommerce/backout/rollback/notify/slacktest"
	"github.com/upcommerce/backout/tests/env/programs"
	"github.com/upcommerce/backout/tests/env/sandbox"
)

// Inbox receives backout's notifications on a stage: a Slack, a webhook, and endpoints
// that never answer.
type Inbox struct {
	inside, url string
	dir         string
	client      *http.Client
}

// Received is what an Inbox has received.
type Received struct {
	// Messages are the bot's, Hooked those of the incoming webhook.
	Messages, Hooked []slacktest.Message
	// Refusals are the errors that the Slack answered.
	Refusals []string
	// Events are the posts to the generic webhook.
	Events []struct{ Signature, Body string }
}

// inboxSecret is the Slack bot's token and the generic webhook's secret.
const inboxSecret = "an-inbox-secret"

const inboxPort = 9780

// Inbox runs an inbox inside the sandbox.
func (s *Stage) Inbox(ctx context.Context) (*Inbox, error) {
	program, err := programs.Build(ctx, programs.Inbox(), nil)
	if err != nil {
		return nil, err
	}
	address := net.JoinHostPort(sandbox.InnerAddress, strconv.Itoa(inboxPort))
	if _, err := s.Sandbox.Run(ctx, sandbox.Process{Name: "inbox", Path: program, Args: []string{address, inboxSecret}}); err != nil {
		return nil, err
	}
	host, err := s.Sandbox.Forward(ctx, address)
	if err != nil {
		return nil, err
	}
	in := &Inbox{inside: "http://" + address, url: "http://" + host, dir: s.Sandbox.Dir(), client: &http.Client{Timeout: 5 * time.Second}}
	for {
		if _, err = in.Received(ctx); err == nil {
			return in, nil
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for the inbox: %w (%w)", ctx.Err(), err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Received returns what the inbox has received so far.
func (in *Inbox) Received(ctx context.Context) (Received, error) {
	var received Received
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, in.url+"/received", nil)
	if err != nil {
		return received, err
	}
	answer, err := in.client.Do(request)
	if err != nil {
		return received, err
	}
	defer func() { _ = answer.Body.Close() }()
	return received, json.NewDecoder(answer.Body).Decode(&received)
}

// Answering returns the environment of a backout that sends all notifications to the inbox.
func (in *Inbox) Answering() (map[string]string, error) {
	return in.environment(in.inside, "good")
}

// Slow returns the environment of a backout whose channels accept connections and never
// answer.
func (in *Inbox) Slow() (map[string]string, error) {
	return in.environment(in.inside+"/slow", "slow")
}

// Dead returns the environment of a backout whose channels all refuse connections.
func (in *Inbox) Dead() (map[string]string, error) {
	return in.environment("http://"+net.JoinHostPort(sandbox.InnerAddress, strconv.Itoa(inboxPort+1)), "dead")
}

func (in *Inbox) environment(base, name string) (map[string]string, error) {
	files := map[string]string{"slack-webhook": base + "/services/T000/B000/hook", "secret": inboxSecret}
	for file, text := range files {
		if err := os.WriteFile(in.file(name, file), []byte(text), 0o600); err != nil {
			return nil, fmt.Errorf("write a secret: %w", err)
		}
	}
	return map[string]string{
		"BACKOUT_SLACK_WEBHOOK_FILE":  in.file(name, "slack-webhook"),
		"BACKOUT_SLACK_TOKEN_FILE":    in.file(name, "secret"),
		"BACKOUT_SLACK_CHANNEL":       "C1",
		"BACKOUT_SLACK_API_URL":       base + "/api/",
		"BACKOUT_WEBHOOK_URL":         base + "/webhook",
		"BACKOUT_WEBHOOK_SECRET_FILE": in.file(name, "secret"),
		"BACKOUT_ALERTMANAGER_URLS":   base,
		"BACKOUT_DASHBOARD_URL":       "https://grafana.example/d/backout",
	}, nil
}

func (in *Inbox) file(name, file string) string { return filepath.Join(in.dir, name+"-"+file) }
