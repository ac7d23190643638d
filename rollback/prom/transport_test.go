package prom_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/upcommerce/backout/rollback/prom"
)

func TestNoReasonContainsAPassword(t *testing.T) {
	address := strings.Replace(closedServer(t), "http://", "http://reader:sesame@", 1) + "/prefix"
	got := newClient(t, prom.Config{URLs: []string{address}}).Firing(t.Context(), shop, badCanary, receipt)
	_, err := newClient(t, prom.Config{URLs: []string{address}}).CanaryTraffic(t.Context(), shop, receipt)
	for _, text := range []string{got.Error, err.Error()} {
		if strings.Contains(text, "sesame") || strings.Contains(text, "reader") || !strings.Contains(text, "127.0.0.1") {
			t.Errorf("a reason names the server without its password: %s", text)
		}
	}
}

// TestTheTokenIsReRead has a server that records the token.
func TestTheTokenIsReRead(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	write(t, file, "plum\n")
	var sent string
	f := &fake{instead: func(w http.ResponseWriter, r *http.Request) {
		sent = r.Header.Get("Authorization")
		w.WriteHeader(http.StatusUnauthorized)
	}}
	client := newClient(t, prom.Config{URLs: start(t, f), TokenFile: file})
	for _, token := range []string{"plum", "pear"} {
		write(t, file, token+"\n")
		client.Firing(t.Context(), shop, badCanary, receipt)
		if sent != "Bearer "+token {
			t.Errorf("the current token of the file is sent: want %s, got %s", token, sent)
		}
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
