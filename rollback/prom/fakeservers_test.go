package prom_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
)

// closedServer is the address of a server that no longer listens.
func closedServer(t *testing.T) string {
	t.Helper()
	s := httptest.NewServer(nil)
	s.Close()
	return s.URL
}

// labels are the labels of BadCanary of shop v3, with others in pairs: an empty value
// removes the label.
func labels(pairs ...string) map[string]string {
	labels := map[string]string{"alertname": "BadCanary", "namespace": "web", "release": "shop", "version": "v3", "severity": "critical", "backout": "rollback"}
	for pair := range slices.Chunk(pairs, 2) {
		labels[pair[0]] = pair[1]
		if pair[1] == "" {
			delete(labels, pair[0])
		}
	}
	return labels
}

// respond answers every request with a status and a body.
func respond(status int, body string) *fake {
	return &fake{instead: func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", "http://elsewhere.example/api/v1/query")
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}}
}

// start returns the addresses of the fakes; nil is a server that no longer listens.
func start(t *testing.T, fakes ...*fake) []string {
	t.Helper()
	var addresses []string
	for _, f := range fakes {
		if f == nil {
			addresses = append(addresses, closedServer(t))
			continue
		}
		addresses = append(addresses, f.start(t))
	}
	return addresses
}

// withLabels is the alert with other labels.
func withLabels(a alert, pairs ...string) alert {
	a.labels = labels(pairs...)
	return a
}

// unstored is the alert in memory only.
func unstored(a alert) alert {
	a.unstored = true
	return a
}

// hanging does not answer as long as the client waits.
func hanging() *fake {
	return &fake{instead: func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // else the server does not notice the end of the connection
		<-r.Context().Done()
	}}
}

// endless sends a response without end.
func endless() *fake {
	return &fake{instead: func(w http.ResponseWriter, r *http.Request) {
		for part := make([]byte, 1<<16); r.Context().Err() == nil; {
			if _, err := w.Write(part); err != nil {
				return
			}
		}
	}}
}

func withWarning(f *fake) *fake {
	f.warning = "a store does not answer"
	return f
}
