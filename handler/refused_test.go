package handler_test

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/upcommerce/backout/handler"
)

// lockedBuffer is a log that goroutines may write at once.
type lockedBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *lockedBuffer) Write(text []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(text)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func TestRefusedWebhooksAreLoggedWithTheirPeer(t *testing.T) {
	token := t.TempDir() + "/token"
	write(t, token, "the right token, and long")
	for name, c := range map[string]struct {
		body, token, want string
		code              int
	}{
		"the wrong token": {payload(), "wrong", "the bearer token is missing or wrong", http.StatusUnauthorized},
		"not a payload":   {"{}", "the right token, and long", "not an Alertmanager webhook payload", http.StatusBadRequest},
		"too many alerts": {envelope(anAlert + strings.Repeat(",{}", 2000)), "the right token, and long", "too much in one payload", http.StatusRequestEntityTooLarge},
		"too long":        {payload() + strings.Repeat(" ", 1<<20), "the right token, and long", "BACKOUT_MAX_BODY_BYTES", http.StatusRequestEntityTooLarge},
	} {
		log := &lockedBuffer{}
		s, _ := newServer(t, func(o *handler.Options) {
			o.Config.Auth, o.Config.Tokens, o.Log = handler.AuthBearer, handler.Tokens{"*": {token}}, slog.New(slog.NewTextHandler(log, nil))
		})
		w := post(s.Handler(), c.body, "Authorization", "Bearer "+c.token)
		if got := log.String(); w.Code != c.code || strings.Count(got, "\n") != 1 || !strings.Contains(got, "peer=192.0.2.1:1234") || !strings.Contains(got, c.want) {
			t.Errorf("%s: one line of the log has the peer and the reason: got %d\n%s", name, w.Code, got)
		}
	}
}

func TestAFloodOfRefusedWebhooksIsCountedInTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &lockedBuffer{}
		s, _ := newServer(t, func(o *handler.Options) { o.Log = slog.New(slog.NewTextHandler(log, nil)) })
		for range 1000 {
			post(s.Handler(), "{}")
		}
		time.Sleep(time.Minute)
		post(s.Handler(), "{}")
		if got := log.String(); strings.Count(got, "\n") != 22 || !strings.Contains(got, "count=980") {
			t.Errorf("20 of 1,000 are logged, then how many more there were, then the next one: got %d lines\n%.500s", strings.Count(got, "\n"), got)
		}
	})
}

func TestTooManyWebhooksAtOnceAreAnswered503(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, in := newServer(t, nil)
		in.accept = func(ctx context.Context) error {
			select {
			case <-ctx.Done():
			case <-time.After(5 * time.Second):
			}
			return nil
		}
		large := payload() + strings.Repeat(" ", 1<<20-len(payload()))
		var posting sync.WaitGroup
		var stored, busy atomic.Int32
		for range 100 {
			posting.Go(func() {
				began := time.Now()
				switch w := post(s.Handler(), large); w.Code {
				case http.StatusOK:
					stored.Add(1)
				case http.StatusServiceUnavailable:
					busy.Add(1)
					if waited := time.Since(began); waited != 3*time.Second {
						t.Errorf("a webhook waits a moment for room: got %s", waited)
					}
				default:
					t.Errorf("Alertmanager repeats only 5xx: got %d", w.Code)
				}
			})
		}
		posting.Wait()
		if stored.Load() != 16 || busy.Load() != 84 {
			t.Errorf("16 webhooks of the largest size are stored at a time: got %d stored, %d answered 503", stored.Load(), busy.Load())
		}
	})
}

// A TLS handshake that fails is one line, up to a bound: any client can make it fail.
func TestAFloodOfFailedHandshakesIsCountedInTheLog(t *testing.T) {
	folder, log := t.TempDir(), &lockedBuffer{}
	files := tlsFiles{folder + "/tls.crt", folder + "/tls.key", ""}
	files.issue(t, newAuthority(t, "server"))
	s, _ := newServer(t, func(o *handler.Options) {
		o.Config.TLSCertFile, o.Config.TLSKeyFile, o.Log = files.cert, files.key, slog.New(slog.NewTextHandler(log, nil))
	})
	webhook, _ := serve(t, s)
	for range 100 {
		answer, err := http.Get("http://" + webhook + "/")
		if err == nil {
			_ = answer.Body.Close()
		}
	}
	if lines := strings.Count(log.String(), "\n"); lines != 20 {
		t.Errorf("%d lines are logged for 100 connections without TLS, want 20", lines)
	}
}
