package chaos

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Inbox receives what backout sends to the team's webhook.
type Inbox struct {
	url string

	mu     sync.Mutex
	events []string
}

// openInbox opens an inbox on a loopback port until ctx ends.
func openInbox(ctx context.Context) (*Inbox, error) {
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("open an inbox: %w", err)
	}
	in := &Inbox{url: "http://" + listener.Addr().String()}
	server := &http.Server{Handler: in, ReadHeaderTimeout: time.Minute}
	go func() { _ = server.Serve(listener) }()
	context.AfterFunc(ctx, func() { _ = server.Close() })
	return in, nil
}

// ServeHTTP stores an event.
func (in *Inbox) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // backout repeats it
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	in.events = append(in.events, string(body))
}

// await waits for an event that has all of these texts.
func (in *Inbox) await(ctx context.Context, texts ...string) error {
	for {
		if in.has(texts) {
			return nil
		}
		if !sleep(ctx, pollEvery) {
			return ctx.Err()
		}
	}
}

func (in *Inbox) has(texts []string) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	for _, event := range in.events {
		found := 0
		for _, text := range texts {
			if strings.Contains(event, text) {
				found++
			}
		}
		if found == len(texts) {
			return true
		}
	}
	return false
}
