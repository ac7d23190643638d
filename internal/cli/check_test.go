package cli

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

// fakeStore is the store of a backout: only alerts about releases named shop become
// records.
type fakeStore struct{ records []rollback.Record }

func (s *fakeStore) Accept(_ context.Context, alerts []rollback.Alert) error {
	for _, alert := range alerts {
		k, signal, err := alert.Read(time.Now())
		if errors.Is(err, rollback.ErrNotOurs) || k.Release != "shop" {
			continue
		}
		s.records = append(s.records, rollback.Record{Key: k, Revision: 3, Signals: []rollback.Signal{signal}})
	}
	return nil
}

func (s *fakeStore) All(context.Context) ([]rollback.Record, error) { return s.records, nil }

func (s *fakeStore) Records(context.Context, rollback.Key, rollback.Consistency) ([]rollback.Record, error) {
	return s.records, nil
}

func (s *fakeStore) Record(context.Context, rollback.Key, int) (rollback.Record, bool, error) {
	return rollback.Record{}, false, nil
}

// startServer starts a real HTTP edge over the store, and returns its URLs and the file of
// its token.
func startServer(t *testing.T, store *fakeStore, ready error, changes ...func(*handler.Options)) (webhook, ops, tokenFile string) {
	t.Helper()
	tokenFile = filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(tokenFile, []byte("a-token-of-some-length\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var c handler.Config
	err := envconfig.ProcessWith(t.Context(), &envconfig.Config{
		Target: &c, Lookuper: envconfig.MapLookuper(map[string]string{"TOKENS": "*:" + tokenFile}),
	})
	if err != nil {
		t.Fatal(err)
	}
	o := handler.Options{
		Config: c, Receiver: store, Reader: store, Registry: prometheus.NewRegistry(), Log: slog.New(slog.DiscardHandler),
		Ready: func(context.Context) error { return ready },
	}
	for _, change := range changes {
		change(&o)
	}
	server, err := handler.New(o)
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
	go func() { served <- server.Serve(listeners[0], listeners[1]) }()
	t.Cleanup(func() {
		if err := server.Shutdown(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil && !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return "http://" + listeners[0].Addr().String(), "http://" + listeners[1].Addr().String(), tokenFile
}

func TestCheckReportsWhetherAlertsAreRecorded(t *testing.T) {
	for _, tt := range []struct {
		name  string
		ready error
		args  []string
		out   string // part of the output; "" for an error
		fails string // part of the error
	}{
		{"recorded", nil, []string{"canary-demo/shop"}, "The alert is recorded: revision 3 of canary-demo/shop", ""},
		{"no release named", nil, nil, "name a release", ""},
		{"not recorded", nil, []string{"canary-demo/other", "--timeout=300ms"}, "", "is the release installed and opted in?"},
		{"no token", nil, []string{"canary-demo/shop", "--token-file="}, "", "401"},
		{"not ready", errors.New("no API server"), nil, "", "no API server"},
		{"missing file", nil, []string{"--ca-file=/nowhere"}, "", "read the CAs"},
		{"not a release", nil, []string{"shop"}, "", "want NAMESPACE/RELEASE"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			webhook, ops, token := startServer(t, &fakeStore{}, tt.ready)
			args := append([]string{"backout", "check", "--webhook=" + webhook, "--ops=" + ops, "--token-file=" + token}, tt.args...)
			command := New(envconfig.MapLookuper(nil), args)
			var out strings.Builder
			command.SetOut(&out)
			command.SetErr(io.Discard)
			err := command.ExecuteContext(t.Context())
			if tt.fails == "" && (err != nil || !strings.Contains(out.String(), tt.out)) {
				t.Errorf("check prints %q, %v; want %q in it", out.String(), err, tt.out)
			}
			if tt.fails != "" && (err == nil || !strings.Contains(err.Error(), tt.fails)) {
				t.Errorf("the error is %v; want %q in it", err, tt.fails)
			}
		})
	}
}

// The alert of a check only asks to observe, so that it changes nothing.
func TestCheckOnlyAsksToObserve(t *testing.T) {
	store := &fakeStore{}
	webhook, ops, token := startServer(t, store, nil)
	args := []string{"backout", "check", "canary-demo/shop", "--cluster=blue", "--webhook=" + webhook, "--ops=" + ops, "--token-file=" + token}
	command := New(envconfig.MapLookuper(nil), args)
	command.SetOut(io.Discard)
	if err := command.ExecuteContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := store.records[0].Signals[0]; got.Level != rollback.LevelObserve || got.Alert != checkAlert || got.Fingerprint == "" {
		t.Errorf("check posts %+v", got)
	}
}

// An ops listener that asks the API server about its readers gets the token of a reader, and the
// webhook its own.
func TestCheckHasATokenForTheOpsListener(t *testing.T) {
	file := func(token string) string {
		path := filepath.Join(t.TempDir(), "ops-token")
		if err := os.WriteFile(path, []byte(token+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	opsToken, unknown, powerless := file("the token of a reader"), file("an old token"), file("a token without a right")
	for name, tt := range map[string]struct{ arg, fails string }{
		"the token of a reader":   {"--ops-token-file=" + opsToken, ""},
		"no token":                {"--ops-token-file=", "401 Unauthorized"},
		"the flag is in the hint": {"--ops-token-file=", "set --ops-token-file"},
		"no file":                 {"--ops-token-file=/nowhere", "read the token"},
		"how to make one":         {"--ops-token-file=", "kubectl create token"},
		"an unknown token":        {"--ops-token-file=" + unknown, "does not know the token"},
		"a token without a right": {"--ops-token-file=" + powerless, "an account that may get the nonResourceURL /backout/*"},
	} {
		webhook, ops, token := startServer(t, &fakeStore{}, nil, func(o *handler.Options) {
			o.Config.OpsAuth = handler.OpsAuthKubernetes
			o.OpsAccess = func(_ context.Context, token, path string) error {
				if token == "a token without a right" {
					return handler.ErrForbidden
				}
				if token != "the token of a reader" || !strings.HasPrefix(path, "/backout/") {
					return handler.ErrUnauthenticated
				}
				return nil
			}
		})
		command := New(envconfig.MapLookuper(nil), []string{"backout", "check", "canary-demo/shop", "--webhook=" + webhook, "--ops=" + ops, "--token-file=" + token, tt.arg})
		var out strings.Builder
		command.SetOut(&out)
		command.SetErr(io.Discard)
		err := command.ExecuteContext(t.Context())
		if tt.fails == "" && (err != nil || !strings.Contains(out.String(), "The alert is recorded")) {
			t.Errorf("%s: %q, %v; want the alert recorded", name, out.String(), err)
		}
		if tt.fails != "" && (err == nil || !strings.Contains(err.Error(), tt.fails)) {
			t.Errorf("%s: the error is %v; want %q in it", name, err, tt.fails)
		}
	}
}
