package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/sethvargo/go-envconfig"

	"github.com/upcommerce/backout/handler"
	"github.com/upcommerce/backout/rollback"
)

// box is a backout's store: what is posted about canary-demo/shop becomes a record.
type box struct{ records []rollback.Record }

func (b *box) Accept(_ context.Context, alerts []rollback.Alert) error {
	for _, alert := range alerts {
		k, accusation, err := alert.Read(time.Now())
		if errors.Is(err, rollback.ErrNotOurs) || k.Release != "shop" {
			continue
		}
		b.records = append(b.records, rollback.Record{Key: k, Revision: 3, Accusations: []rollback.Accusation{accusation}})
	}
	return nil
}

func (b *box) All(context.Context) ([]rollback.Record, error) { return b.records, nil }

func (b *box) Records(context.Context, rollback.Key) ([]rollback.Record, error) {
	return b.records, nil
}

func (b *box) Record(context.Context, rollback.Key, int) (rollback.Record, bool, error) {
	return rollback.Record{}, false, nil
}

// serving returns the URLs of a real HTTP edge over the box, and the file of its token.
func serving(t *testing.T, b *box, ready error) (webhook, ops, tokenFile string) {
	t.Helper()
	tokenFile = filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(tokenFile, []byte("a-token-of-some-length\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := load(t, map[string]string{"BACKOUT_TOKEN_FILE": tokenFile})
	if err != nil {
		t.Fatal(err)
	}
	s, err := handler.New(handler.Options{
		Config: c.HTTP, Receiver: b, Reader: b, Registry: prometheus.NewRegistry(), Log: slog.New(slog.DiscardHandler),
		Ready: func(context.Context) error { return ready },
	})
	if err != nil {
		t.Fatal(err)
	}
	var listeners [2]net.Listener
	for i := range listeners {
		if listeners[i], err = (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(listeners[0], listeners[1]) }()
	t.Cleanup(func() {
		if err := s.Shutdown(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil && !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return "http://" + listeners[0].Addr().String(), "http://" + listeners[1].Addr().String(), tokenFile
}

func TestCheck(t *testing.T) {
	for _, tt := range []struct {
		name  string
		ready error
		args  []string
		said  string // what it prints; "" for an error
		wrong string // what the error says
	}{
		{"recorded", nil, []string{"canary-demo/shop"}, "The alert is recorded: revision 3 of canary-demo/shop", ""},
		{"no release named", nil, nil, "name a release", ""},
		{"not recorded", nil, []string{"canary-demo/other", "--timeout=300ms"}, "", "is the release installed and opted in?"},
		{"wrong token", nil, []string{"canary-demo/shop", "--token-file="}, "", "401"},
		{"not ready", errors.New("no API server"), nil, "", "no API server"},
		{"no such file", nil, []string{"--ca-file=/nowhere"}, "", "read the authorities"},
		{"bad name", nil, []string{"shop"}, "", "want NAMESPACE/RELEASE"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			webhook, ops, token := serving(t, &box{}, tt.ready)
			args := append([]string{"backout", "check", "--webhook=" + webhook, "--ops=" + ops, "--token-file=" + token}, tt.args...)
			command := newCommand(envconfig.MapLookuper(nil), args)
			var out strings.Builder
			command.SetOut(&out)
			command.SetErr(io.Discard)
			err := command.ExecuteContext(t.Context())
			if tt.wrong == "" && (err != nil || !strings.Contains(out.String(), tt.said)) {
				t.Errorf("it says %q, %v; want %q", out.String(), err, tt.said)
			}
			if tt.wrong != "" && (err == nil || !strings.Contains(err.Error(), tt.wrong)) {
				t.Errorf("the error is %v; want one that says %q", err, tt.wrong)
			}
		})
	}
}

// What check posts touches nothing: it only asks to observe.
func TestCheckOnlyObserves(t *testing.T) {
	b := &box{}
	webhook, ops, token := serving(t, b, nil)
	args := []string{"backout", "check", "canary-demo/shop", "--cluster=blue", "--webhook=" + webhook, "--ops=" + ops, "--token-file=" + token}
	command := newCommand(envconfig.MapLookuper(nil), args)
	command.SetOut(io.Discard)
	if err := command.ExecuteContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := b.records[0].Accusations[0]; got.Level != rollback.LevelObserve || got.Alert != checkAlert || got.Fingerprint == "" {
		t.Errorf("check posts %+v", got)
	}
}
