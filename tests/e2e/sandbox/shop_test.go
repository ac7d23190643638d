package sandbox_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// shopPort is serveShop's port in its pod.
const shopPort = 8080

// serveShop is the program of the tests' image. It answers questions about its environment and its files. With EXIT it ends at
// once with that code; with UNREADY it is not ready before a POST to /ready; it keeps answering for DRAIN after a SIGTERM.
func serveShop() error {
	if code, err := strconv.Atoi(os.Getenv("EXIT")); err == nil {
		fmt.Println("it ends at once with", code)
		os.Exit(code)
	}
	var unready atomic.Bool
	unready.Store(os.Getenv("UNREADY") != "")
	handle := func(path string, answer func(*http.Request) (string, error)) {
		http.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			text, err := answer(r)
			if err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
			_, _ = io.WriteString(w, text)
		})
	}
	handle("GET /{$}", func(*http.Request) (string, error) { return os.Getenv("VERSION"), nil })
	handle("GET /env", func(r *http.Request) (string, error) { return os.Getenv(r.FormValue("name")), nil })
	handle("GET /hostname", func(*http.Request) (string, error) { return os.Hostname() })
	handle("GET /get", func(r *http.Request) (string, error) {
		return fetch(r.Context(), http.DefaultClient, r.FormValue("url"))
	})
	handle("GET /configmaps", func(r *http.Request) (string, error) { return listConfigMaps(r.Context(), r.FormValue("namespace")) })
	handle("GET /file", func(r *http.Request) (string, error) {
		b, err := os.ReadFile(r.FormValue("path"))
		return string(b), err
	})
	handle("POST /file", func(r *http.Request) (string, error) {
		return "", os.WriteFile(r.FormValue("path"), []byte("written"), 0o600)
	})
	handle("POST /exit", func(r *http.Request) (string, error) {
		code, err := strconv.Atoi(r.FormValue("code"))
		if err == nil {
			time.AfterFunc(10*time.Millisecond, func() { os.Exit(code) })
		}
		return "", err
	})
	http.HandleFunc("/ready", func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			unready.Store(r.FormValue("ready") == "no")
			return
		}
		if unready.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	return serveUntilTerminated()
}

func serveUntilTerminated() error {
	terminated := make(chan os.Signal, 1)
	signal.Notify(terminated, syscall.SIGTERM)
	server := &http.Server{Addr: fmt.Sprint(":", shopPort)}
	failed := make(chan error, 1)
	go func() { failed <- server.ListenAndServe() }()
	select {
	case err := <-failed:
		return err
	case <-terminated:
	}
	fmt.Println("SIGTERM")
	drain, _ := time.ParseDuration(os.Getenv("DRAIN"))
	time.Sleep(drain)
	return server.Shutdown(context.Background())
}

// listConfigMaps lists ConfigMaps as a program in a pod does.
func listConfigMaps(ctx context.Context, namespace string) (string, error) {
	config, err := rest.InClusterConfig()
	if err != nil {
		return "", err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return "", err
	}
	maps, err := client.CoreV1().ConfigMaps(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return "", err
	}
	var names []string
	for _, m := range maps.Items {
		names = append(names, m.Name)
	}
	return strings.Join(names, " "), nil
}

// fetch returns the body of a page that answers 200.
func fetch(ctx context.Context, client *http.Client, url string) (string, error) {
	return request(ctx, client, http.MethodGet, url)
}

func request(ctx context.Context, client *http.Client, method, url string) (string, error) {
	r, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return "", err
	}
	response, err := client.Do(r)
	if err != nil {
		return "", err
	}
	defer func() { _ = response.Body.Close() }()
	b, err := io.ReadAll(response.Body)
	if err != nil {
		return "", err
	}
	if response.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s %s: %s: %s", method, url, response.Status, b)
	}
	return string(b), nil
}
