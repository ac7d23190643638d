// Command inbox receives backout's notifications in scenarios. It is a Slack that
// refuses what Slack refuses, a webhook that keeps every post, and, below /slow, an
// endpoint that never answers. GET /received returns everything that came.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/upcommerce/backout/rollback/notify/slacktest"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "inbox:", err)
		os.Exit(1)
	}
}

// run serves on args[0]; the bot's token is args[1].
func run(args []string) error {
	if len(args) != 2 {
		return fmt.Errorf("want an address and a token, got %d arguments", len(args))
	}
	in := &inbox{slack: &slacktest.Server{Token: args[1], Channels: []string{"C1"}, HookPath: "/services/T000/B000/hook"}}
	server := &http.Server{Addr: args[0], Handler: in, ReadHeaderTimeout: 10 * time.Second}
	return server.ListenAndServe()
}

// Received is the answer to GET /received.
type Received struct {
	Messages, Hooked []slacktest.Message
	Refusals         []string
	Events           []Posted
}

// Posted is a post to /webhook.
type Posted struct {
	Signature, Body string
}

type inbox struct {
	slack *slacktest.Server

	mu     sync.Mutex
	events []Posted
}

func (in *inbox) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	switch {
	case strings.HasPrefix(q.URL.Path, "/slow"):
		_, _ = io.Copy(io.Discard, q.Body)
		<-q.Context().Done()
	case q.URL.Path == "/webhook":
		body, _ := io.ReadAll(q.Body)
		in.mu.Lock()
		defer in.mu.Unlock()
		in.events = append(in.events, Posted{Signature: q.Header.Get("Backout-Signature"), Body: string(body)})
	case q.URL.Path == "/received":
		in.mu.Lock()
		events := slices.Clone(in.events)
		in.mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(Received{
			Messages: in.slack.Messages(), Hooked: in.slack.Hooked(), Refusals: in.slack.Refusals(), Events: events,
		})
	default:
		in.slack.ServeHTTP(w, q)
	}
}
