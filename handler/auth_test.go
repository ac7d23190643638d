package handler_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/upcommerce/backout/handler"
)

// withToken makes the server require the token in the file.
func withToken(path string) func(*handler.Options) {
	return func(o *handler.Options) {
		o.Config.Auth, o.Config.Tokens = handler.AuthBearer, handler.Tokens{"*": {path}}
	}
}

func TestBearerTokenIsRequired(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	write(t, file, "correct horse battery\n")
	s, in := newServer(t, withToken(file))
	for _, c := range []struct {
		name    string
		headers []string
		want    int
	}{
		{"the right token", []string{"Authorization", "Bearer correct horse battery"}, http.StatusOK},
		{"the scheme in lower case", []string{"Authorization", "bearer correct horse battery"}, http.StatusOK},
		{"no header", nil, http.StatusUnauthorized},
		{"empty header", []string{"Authorization", ""}, http.StatusUnauthorized},
		{"no token", []string{"Authorization", "Bearer"}, http.StatusUnauthorized},
		{"empty token", []string{"Authorization", "Bearer "}, http.StatusUnauthorized},
		{"a wrong token", []string{"Authorization", "Bearer wrong"}, http.StatusUnauthorized},
		{"the beginning of the token", []string{"Authorization", "Bearer correct"}, http.StatusUnauthorized},
		{"more than the token", []string{"Authorization", "Bearer correct horse battery staple"}, http.StatusUnauthorized},
		{"a token in other letters", []string{"Authorization", "Bearer Correct Horse Battery"}, http.StatusUnauthorized},
		{"the token without a scheme", []string{"Authorization", "correct horse battery"}, http.StatusUnauthorized},
		{"the token as a password", []string{"Authorization", "Basic correct horse battery"}, http.StatusUnauthorized},
		{"the token in another header", []string{"X-Token", "Bearer correct horse battery"}, http.StatusUnauthorized},
	} {
		before := len(in.batches())
		w := post(s.Handler(), payload(), c.headers...)
		if w.Code != c.want {
			t.Errorf("%s is answered %d: got %d", c.name, c.want, w.Code)
		}
		if passed := len(in.batches()) - before; (c.want == http.StatusOK) != (passed == 1) {
			t.Errorf("%s: only alerts of an authenticated sender are passed on: got %d batches", c.name, passed)
		}
		if c.want == http.StatusUnauthorized {
			if _, hint := problemOf(t, w); !strings.Contains(hint, "credentials_file") || w.Header().Get("WWW-Authenticate") == "" {
				t.Errorf("%s: the answer says how to authenticate: got %q", c.name, hint)
			}
			if strings.Contains(w.Body.String(), "horse") {
				t.Errorf("%s: the answer does not show the token", c.name)
			}
		}
	}
}

// unread is a body that must not be read.
type unread struct{ t *testing.T }

func (u unread) Read([]byte) (int, error) {
	u.t.Error("a body is not read before the sender is authenticated")
	return 0, errors.New("read")
}

func TestSenderIsAuthenticatedBeforeTheBodyIsRead(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	write(t, file, "a token of 16 bytes")
	s, _ := newServer(t, withToken(file))
	r := httptest.NewRequest(http.MethodPost, "/api/v1/alerts", unread{t})
	r.Header.Set("Authorization", "Bearer wrong")
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, r)
	if w.Code != http.StatusUnauthorized {
		t.Errorf("a wrong token is answered 401: got %d", w.Code)
	}
}

// TestTokenIsRotatedWithoutARestart replaces the token as the kubelet does: the files of a
// mounted Secret are links through ..data, which a rename swaps.
func TestTokenIsRotatedWithoutARestart(t *testing.T) {
	mount := t.TempDir()
	publish := func(version, token string) {
		t.Helper()
		if err := os.Mkdir(filepath.Join(mount, version), 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(mount, version, "token"), token)
		next := filepath.Join(mount, "..data_tmp")
		if err := os.Symlink(version, next); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(next, filepath.Join(mount, "..data")); err != nil {
			t.Fatal(err)
		}
	}
	publish("..1", "the-first-token-")
	file := filepath.Join(mount, "token")
	if err := os.Symlink(filepath.Join("..data", "token"), file); err != nil {
		t.Fatal(err)
	}
	s, _ := newServer(t, withToken(file))
	status := func(token string) int {
		return post(s.Handler(), payload(), "Authorization", "Bearer "+token).Code
	}
	if got := status("the-first-token-"); got != http.StatusOK {
		t.Fatalf("the first token is valid: got %d", got)
	}
	publish("..2", "the-other-token-") // of the same length
	if got := status("the-other-token-"); got != http.StatusOK {
		t.Errorf("the new token is valid at once, without a restart: got %d", got)
	}
	if got := status("the-first-token-"); got != http.StatusUnauthorized {
		t.Errorf("the old token is refused: got %d", got)
	}
	if err := os.RemoveAll(filepath.Join(mount, "..1")); err != nil {
		t.Fatal(err)
	}

	for how, spoil := range map[string]func(){
		"emptied": func() { publish("..3", " \n") },
		"deleted": func() { _ = os.Remove(file) },
	} {
		spoil()
		if got := status("the-other-token-"); got != http.StatusOK {
			t.Errorf("the file is %s: the last token stays valid: got %d", how, got)
		}
		for _, wrong := range []string{"", "the-first-token-", " "} {
			if got := status(wrong); got != http.StatusUnauthorized {
				t.Errorf("the file is %s: no other token becomes valid: %q got %d", how, wrong, got)
			}
		}
	}
	if err := os.Symlink(filepath.Join("..data", "token"), file); err != nil {
		t.Fatal(err)
	}
	publish("..4", "the-fourth-token")
	if got := status("the-fourth-token"); got != http.StatusOK {
		t.Errorf("a file that exists again is read: got %d", got)
	}
}

// The token before stays valid while its file, in the same Secret, exists: Alertmanager and backout do not read a new one at the same time.
func TestTokensOverlap(t *testing.T) {
	folder := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(folder, name)
		write(t, path, text)
		return path
	}
	s, _ := newServer(t, withToken(file("token", "the-second-token")))
	status := func(token string) int {
		return post(s.Handler(), payload(), "Authorization", "Bearer "+token).Code
	}
	previous := file("previous-token", "the-first-token-\n")
	for token, want := range map[string]int{"the-second-token": http.StatusOK, "the-first-token-": http.StatusOK, "the-third-token-": http.StatusUnauthorized} {
		if got := status(token); got != want {
			t.Errorf("%s: got %d, want %d", token, got, want)
		}
	}
	file("previous-token", "short")
	for token, want := range map[string]int{"the-second-token": http.StatusOK, "the-first-token-": http.StatusUnauthorized, "short": http.StatusUnauthorized} {
		if got := status(token); got != want {
			t.Errorf("%s, with a short token before: got %d, want %d", token, got, want)
		}
	}
	file("previous-token", "the-first-token-")
	if got := status("the-first-token-"); got != http.StatusOK {
		t.Errorf("the token before: got %d", got)
	}
	if err := os.Remove(previous); err != nil {
		t.Fatal(err)
	}
	if got := status("the-first-token-"); got != http.StatusUnauthorized {
		t.Errorf("the token before, once its file is gone: got %d", got)
	}
}

func TestATokenInSeveralFilesIsReported(t *testing.T) {
	folder := t.TempDir()
	file := func(name string) string {
		path := filepath.Join(folder, name)
		write(t, path, "the-same-token-for-both")
		return path
	}
	var log strings.Builder
	s, in := newServer(t, func(o *handler.Options) {
		o.Config.Auth, o.Config.Tokens = handler.AuthBearer, handler.Tokens{"shop": {file("shop")}, "payments": {file("payments")}}
		o.Log = slog.New(slog.NewTextHandler(&log, nil))
	})
	for range 2 {
		if w := post(s.Handler(), payload(), "Authorization", "Bearer the-same-token-for-both"); w.Code != http.StatusOK {
			t.Fatalf("got %d", w.Code)
		}
	}
	if got := in.batches()[0][0].Sender.Namespaces; strings.Join(got, " ") != "payments shop" {
		t.Errorf("namespaces %v, want both", got)
	}
	if n := strings.Count(log.String(), "the same token is in several files"); n != 1 {
		t.Errorf("%d warnings in two requests, want one:\n%s", n, log.String())
	}
}

func TestNewRefusesAWrongConfiguration(t *testing.T) {
	folder := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(folder, name)
		write(t, path, text)
		return path
	}
	token := file("token", "a token of 16 bytes")
	empty := file("empty", "\n")
	for _, c := range []struct {
		name   string
		change func(*handler.Config)
		want   string
	}{
		{"bearer without a file", func(c *handler.Config) { c.Auth = handler.AuthBearer }, "BACKOUT_TOKENS is not set"},
		{"an empty token file", func(c *handler.Config) { c.Auth, c.Tokens = handler.AuthBearer, handler.Tokens{"*": {empty}} }, "BACKOUT_TOKENS: read " + empty},
		{"a short token", func(c *handler.Config) {
			c.Auth, c.Tokens = handler.AuthBearer, handler.Tokens{"*": {token}, "shop": {file("short", "fifteen-bytes-x\n")}}
		}, "the token in it has 15 bytes, want at least 16"},
		{"a token where another's token before would be", func(c *handler.Config) {
			c.Auth, c.Tokens = handler.AuthBearer, handler.Tokens{"*": {token}, "shop": {file("previous-token", "another token of 22 by")}}
		}, "is where the token before that in"},
		{"a token for a glob", func(c *handler.Config) {
			c.Auth, c.Tokens = handler.AuthBearer, handler.Tokens{"shop-*": {token}}
		}, `BACKOUT_TOKENS: "shop-*:`},
		{"names without client CAs", func(c *handler.Config) { c.ClientNames = []string{"alertmanager"} }, "BACKOUT_TLS_CLIENT_NAMES needs BACKOUT_TLS_CLIENT_CA_FILE"},
		{"no such token file", func(c *handler.Config) {
			c.Auth, c.Tokens = handler.AuthBearer, handler.Tokens{"*": {folder + "/none"}}
		}, "BACKOUT_TOKENS: find " + folder},
		{"a folder as token file", func(c *handler.Config) { c.Auth, c.Tokens = handler.AuthBearer, handler.Tokens{"*": {folder}} }, "BACKOUT_TOKENS: read " + folder},
		{"none with a token", func(c *handler.Config) { c.Tokens = handler.Tokens{"*": {token}} }, "BACKOUT_AUTH=none contradicts BACKOUT_TOKENS"},
		{"an unknown value", func(c *handler.Config) { c.Auth = "basic" }, `BACKOUT_AUTH="basic"`},
		{"an unknown authentication of readers", func(c *handler.Config) { c.OpsAuth = "basic" }, `BACKOUT_OPS_AUTH="basic"`},
		{"no value", func(c *handler.Config) { c.Auth = "" }, `BACKOUT_AUTH=""`},
		{"a certificate without key", func(c *handler.Config) { c.TLSCertFile = token }, "BACKOUT_TLS_KEY_FILE"},
		{"a key without certificate", func(c *handler.Config) { c.TLSKeyFile = token }, "BACKOUT_TLS_CERT_FILE"},
		{"a file that is not a certificate", func(c *handler.Config) { c.TLSCertFile, c.TLSKeyFile = token, token }, token},
		{"client CAs without a certificate", func(c *handler.Config) { c.ClientCAFile = token }, "BACKOUT_TLS_CLIENT_CA_FILE needs"},
		{"an address without colon", func(c *handler.Config) { c.Listen = "8080" }, `BACKOUT_LISTEN="8080"`},
		{"no address of the ops listener", func(c *handler.Config) { c.OpsListen = "" }, `BACKOUT_OPS_LISTEN=""`},
		{"no body allowed", func(c *handler.Config) { c.MaxBody = 0 }, "BACKOUT_MAX_BODY_BYTES=0"},
		{"no time to read", func(c *handler.Config) { c.ReadTimeout = 0 }, "BACKOUT_READ_TIMEOUT=0s"},
		{"no time to store", func(c *handler.Config) { c.StoreTimeout = -1 }, "BACKOUT_STORE_TIMEOUT=-1ns"},
	} {
		config := openConfig()
		c.change(&config)
		_, err := handler.New(handler.Options{
			Config: config, Receiver: &inbox{}, Reader: records{}, Registry: prometheus.NewRegistry(),
			Ready: func(context.Context) error { return nil },
		})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: New refuses it and names the variable: got %v, want %q in it", c.name, err, c.want)
		}
	}
}

// TestAuthNoneRequiresNoToken is for listeners behind an authenticating proxy.
func TestAuthNoneRequiresNoToken(t *testing.T) {
	s, _ := newServer(t, nil)
	for _, headers := range [][]string{nil, {"Authorization", "Bearer whatever"}} {
		if w := post(s.Handler(), payload(), headers...); w.Code != http.StatusOK {
			t.Errorf("BACKOUT_AUTH=none accepts every sender: got %d", w.Code)
		}
	}
}

// A token is for its namespaces. Alerts about others are refused one by one, not the webhook.
func TestATokenNamesItsNamespaces(t *testing.T) {
	folder := t.TempDir()
	file := func(name string) string {
		path := filepath.Join(folder, name)
		write(t, path, "the-token-of-"+name+"\n")
		return path
	}
	both := file("both")
	s, in := newServer(t, func(o *handler.Options) {
		o.Config.Auth = handler.AuthBearer
		o.Config.Tokens = handler.Tokens{"*": {file("all")}, "shop": {file("shop"), file("monitoring")}, "payments": {both}, "ledger": {both}}
	})
	for _, c := range []struct{ token, name, namespaces string }{
		{"all", "token of *", "*"}, {"shop", "token of shop", "shop"}, {"monitoring", "token of shop", "shop"}, {"both", "token of ledger, payments", "ledger payments"},
	} {
		if w := post(s.Handler(), payload(), "Authorization", "Bearer the-token-of-"+c.token); w.Code != http.StatusOK {
			t.Fatalf("token %s: got %d", c.token, w.Code)
		}
		batches := in.batches()
		sender := batches[len(batches)-1][0].Sender
		if sender == nil || sender.Name != c.name || strings.Join(sender.Namespaces, " ") != c.namespaces {
			t.Errorf("token %s: the alerts come from %+v, want %s for %s", c.token, sender, c.name, c.namespaces)
		}
	}
	if w := post(s.Handler(), payload(), "Authorization", "Bearer the-token-of-none"); w.Code != http.StatusUnauthorized {
		t.Errorf("a token of no file: got %d", w.Code)
	}
}

// A namespace that is named twice has two senders, and neither token is lost.
func TestTokensAreReadFromTheEnvironment(t *testing.T) {
	for value, want := range map[string]handler.Tokens{
		"":                               nil,
		"*:/all, shop:/a,shop:/b,pay:/a": {"*": {"/all"}, "shop": {"/a", "/b"}, "pay": {"/a"}},
		"shop:/a,shop:/a,":               {"shop": {"/a"}},
		"shop":                           {"shop": {""}},
		"shop:/a:b":                      {"shop": {"/a:b"}},
	} {
		var got handler.Tokens
		if err := got.EnvDecode(value); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: got %v, %v; want %v", value, got, err, want)
		}
	}
}
