package helm

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"k8s.io/client-go/rest"
)

// TestNothingIsWrittenAfterAFailedWrite: the objects that a later one needs are written
// before it, or neither is.
func TestNothingIsWrittenAfterAFailedWrite(t *testing.T) {
	sent := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sent++
		status, err := strconv.Atoi(strings.TrimPrefix(r.URL.Path, "/"))
		if err != nil {
			t.Error(err)
		}
		w.WriteHeader(status)
	}))
	defer server.Close()
	for name, c := range map[string]struct {
		method, path string
		goesOn       bool
	}{
		"a write that succeeded":         {http.MethodPatch, "/200", true},
		"a write that failed":            {http.MethodPatch, "/500", false},
		"a write that was refused":       {http.MethodPost, "/403", false},
		"a delete of a missing object":   {http.MethodDelete, "/404", true},
		"a patch of a missing object":    {http.MethodPatch, "/404", false},
		"a write that client-go repeats": {http.MethodPatch, "/429", true},
		"a read that failed":             {http.MethodGet, "/500", true},
		"a dry run that failed":          {http.MethodPatch, "/422?dryRun=All", true},
		"a write without an answer":      {http.MethodPatch, "http://127.0.0.1:1/200", false},
		"a read without an answer":       {http.MethodGet, "http://127.0.0.1:1/200", true},
	} {
		client, err := rest.HTTPClientFor(writeInOrder(&rest.Config{Host: server.URL}))
		if err != nil {
			t.Fatal(err)
		}
		do := func(method, path string) error {
			if strings.HasPrefix(path, "/") {
				path = server.URL + path
			}
			request, err := http.NewRequestWithContext(t.Context(), method, path, http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			response, err := client.Do(request)
			if err == nil {
				err = response.Body.Close()
			}
			return err
		}
		_ = do(c.method, c.path)
		before := sent
		err = do(http.MethodPatch, "/200")
		if c.goesOn != (err == nil) || !c.goesOn && (sent != before || !errors.Is(err, errNotWritten)) {
			t.Errorf("%s: the next write: %v, %d sent; want it sent: %t", name, err, sent-before, c.goesOn)
		}
		if err := do(http.MethodGet, "/200"); err != nil {
			t.Errorf("%s: reads continue: %v", name, err)
		}
	}
}
