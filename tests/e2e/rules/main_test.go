package rules_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/upcommerce/backout/tests/env/sandbox"
)

// role is the environment variable that makes the test binary a program that runs inside a sandbox.
const role = "RULES_TEST_ROLE"

func TestMain(m *testing.M) {
	switch os.Getenv(role) {
	case "":
		os.Exit(m.Run())
	case "shop":
		fmt.Fprintln(os.Stderr, serveShop())
	case "webhook":
		fmt.Fprintln(os.Stderr, serveWebhook())
	}
	os.Exit(1)
}

// serveShop exports at LISTEN the metrics of a storefront of VERSION that answers 40 requests per second. After a POST it fails half
// of them.
func serveShop() error {
	var served, failed atomic.Int64
	var bad atomic.Bool
	go func() {
		for n := int64(1); ; n++ {
			time.Sleep(25 * time.Millisecond)
			if bad.Load() && n%2 == 0 {
				failed.Add(1)
			} else {
				served.Add(1)
			}
		}
	}()
	return http.ListenAndServe(os.Getenv("LISTEN"), http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if q.Method == http.MethodPost {
			bad.Store(true)
			return
		}
		for code, n := range map[int]int64{200: served.Load(), 500: failed.Load()} {
			fmt.Fprintf(w, "http_requests_total{code=\"%d\",method=\"get\",version=%q} %d\n", code, os.Getenv("VERSION"), n)
		}
	}))
}

const webhookAddress = sandbox.InnerAddress + ":8080"

// delivery is one post to the webhook.
type delivery struct {
	// Path distinguishes receivers; Token is the bearer token of the post.
	Path, Token string
	At          time.Time
	Body        json.RawMessage
}

// serveWebhook stores every post, and returns all of them on GET.
func serveWebhook() error {
	var mu sync.Mutex
	all := []delivery{}
	return http.ListenAndServe(webhookAddress, http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if q.Method != http.MethodPost {
			_ = json.NewEncoder(w).Encode(all)
			return
		}
		if body, err := io.ReadAll(q.Body); err == nil {
			token := strings.TrimPrefix(q.Header.Get("Authorization"), "Bearer ")
			all = append(all, delivery{Path: q.URL.Path, Token: token, At: time.Now(), Body: body})
		}
	}))
}
