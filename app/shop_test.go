package main

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/sethvargo/go-envconfig"
)

// newShop starts a storefront from an environment, as main does, without a listener.
func newShop(t *testing.T, env map[string]string) *Shop {
	t.Helper()
	config, err := readConfig(t.Context(), envconfig.MapLookuper(env))
	if err != nil {
		t.Fatal(err)
	}
	shop, err := NewShop(slog.New(slog.DiscardHandler), config)
	if err != nil {
		t.Fatal(err)
	}
	return shop
}

// call sends one request to shop and returns its answer.
func call(t *testing.T, shop *Shop, method, path string) *httptest.ResponseRecorder {
	t.Helper()
	answer := httptest.NewRecorder()
	shop.ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), method, path, nil))
	return answer
}

func TestPageShowsVersionAndColor(t *testing.T) {
	for _, tt := range []struct {
		name string
		env  map[string]string
		want []string
	}{
		{"stable of the exercise", map[string]string{"VERSION": "v1", "APP_COLOR": "white"}, []string{"Hello from version v1", "background-color: white"}},
		{"canary of the exercise", map[string]string{"VERSION": "v2", "APP_COLOR": "green"}, []string{"Hello from version v2", "background-color: green"}},
		{"third version", map[string]string{"VERSION": "v3", "APP_COLOR": "yellow"}, []string{"Hello from version v3", "background-color: yellow"}},
		{"empty environment", nil, []string{"Hello from version v1", "background-color: white"}},
		{"hex colour", map[string]string{"APP_COLOR": "#2e8b57"}, []string{"background-color: #2e8b57"}},
		{"own message", map[string]string{"VERSION": "v2", "WELCOME_MESSAGE": "Black Friday"}, []string{"Black Friday", "version v2"}},
		{"hostile message", map[string]string{"WELCOME_MESSAGE": `<script>alert(1)</script>`}, []string{"&lt;script&gt;alert(1)&lt;/script&gt;"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			answer := call(t, newShop(t, tt.env), http.MethodGet, "/")
			if answer.Code != http.StatusOK {
				t.Fatalf("GET / answers %d, want 200", answer.Code)
			}
			if kind := answer.Header().Get("Content-Type"); kind != "text/html; charset=utf-8" {
				t.Errorf("the page has the type %q, want HTML", kind)
			}
			page := answer.Body.String()
			for _, want := range tt.want {
				if !strings.Contains(page, want) {
					t.Errorf("the page lacks %q:\n%s", want, page)
				}
			}
			if strings.Contains(page, "<script") {
				t.Errorf("the page contains a script:\n%s", page)
			}
		})
	}
}

// The configuration refuses such colours; the template is a second barrier.
func TestPageKeepsHostileColorOut(t *testing.T) {
	page, err := renderPage(Config{Version: "v1", Color: `red;}</style><script>`, WelcomeMessage: "hello"})
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(page), "<script") || strings.Count(string(page), "</style") != 1 {
		t.Errorf("a colour escaped from the style sheet:\n%s", page)
	}
}

func TestEveryOtherRequestIsRefused(t *testing.T) {
	shop := newShop(t, nil)
	for _, tt := range []struct {
		method, path string
		want         int
	}{
		{http.MethodHead, "/", http.StatusOK},
		{http.MethodPost, "/", http.StatusMethodNotAllowed},
		{"BREW", "/", http.StatusMethodNotAllowed},
		{http.MethodGet, "/cart", http.StatusNotFound},
		{http.MethodDelete, "/cart", http.StatusNotFound},
		{http.MethodGet, "//", http.StatusNotFound},
		{http.MethodGet, "/../metrics", http.StatusNotFound},
		{http.MethodGet, "/metrics/", http.StatusNotFound},
	} {
		answer := call(t, shop, tt.method, tt.path)
		if answer.Code != tt.want {
			t.Errorf("%s %s answers %d, want %d", tt.method, tt.path, answer.Code, tt.want)
		}
		if allow := answer.Header().Get("Allow"); (answer.Code == http.StatusMethodNotAllowed) != (allow == "GET, HEAD") {
			t.Errorf("%s %s answers %d and allows %q: a 405, and only a 405, names the methods allowed", tt.method, tt.path, answer.Code, allow)
		}
	}
}

func TestHealthAndReadiness(t *testing.T) {
	shop := newShop(t, nil)
	for _, path := range []string{"/healthz", "/readyz"} {
		if code := call(t, shop, http.MethodGet, path).Code; code != http.StatusOK {
			t.Errorf("a serving storefront answers %s with %d, want 200", path, code)
		}
	}

	shop.Drain()
	for path, want := range map[string]int{"/readyz": http.StatusServiceUnavailable, "/healthz": http.StatusOK, "/": http.StatusOK} {
		answer := call(t, shop, http.MethodGet, path)
		if answer.Code != want {
			t.Errorf("a draining storefront answers %s with %d, want %d", path, answer.Code, want)
		}
		if answer.Header().Get("Connection") != "close" {
			t.Errorf("a draining storefront keeps the connection of %s open", path)
		}
	}
}
