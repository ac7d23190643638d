package bench

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"

	"github.com/upcommerce/backout/tests/env/stage"
)

// recorder is a proxy to the API server that records each request. It slows requests down,
// so that only their number and order are measured through it.
type recorder struct {
	proxy *httputil.ReverseProxy

	mu       sync.Mutex
	requests []request
}

type request struct {
	what         string
	began, ended time.Time
}

func newRecorder(config *rest.Config) (*recorder, error) {
	upstream, err := url.Parse(config.Host)
	if err != nil {
		return nil, err
	}
	transport, err := rest.TransportFor(config)
	if err != nil {
		return nil, err
	}
	return &recorder{proxy: &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(upstream)
			r.Out.Host = ""
		},
		Transport: transport, FlushInterval: -1,
		// A process that ends breaks its watches.
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}}, nil
}

// ServeHTTP forwards the request with the admin's rights. Requests about leases, and
// watches, are not recorded.
func (r *recorder) ServeHTTP(w http.ResponseWriter, in *http.Request) {
	began := time.Now()
	what := describe(in)
	defer func() {
		if strings.Contains(what, "leases") || in.URL.Query().Has("watch") || strings.HasPrefix(what, "GET version") {
			return
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.requests = append(r.requests, request{what, began, time.Now()})
	}()
	r.proxy.ServeHTTP(w, in)
}

func describe(in *http.Request) string {
	_, path, found := strings.Cut(in.URL.Path, "/namespaces/")
	if _, rest, ok := strings.Cut(path, "/"); found && ok {
		path = rest
	}
	what := in.Method + " " + strings.TrimPrefix(path, "/")
	if selector := in.URL.Query().Get("labelSelector"); selector != "" {
		what += "?" + selector
	}
	if strings.Contains(in.Header.Get("Accept"), "PartialObjectMetadata") {
		what += " (metadata)"
	}
	return what
}

// between returns the requests that began between the two times, in the order in which
// they began.
func (r *recorder) between(from, to time.Time) []request {
	r.mu.Lock()
	defer r.mu.Unlock()
	found := slices.DeleteFunc(slices.Clone(r.requests), func(q request) bool { return q.began.Before(from) || q.began.After(to) })
	slices.SortFunc(found, func(a, b request) int { return a.began.Compare(b.began) })
	return found
}

// BenchmarkRequests counts and lists backout's requests to the API server from a webhook
// until the weight is zero. The count does not depend on the machine.
func BenchmarkRequests(b *testing.B) {
	s := open(b)
	s.spaces(b, shedSpace)
	r, err := newRecorder(s.stage.Sandbox.RESTConfig())
	if err != nil {
		b.Fatal(err)
	}
	s.startOutside(b, r)
	seen, err := s.watch(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		var began, ended time.Time
		// The first shed fills backout's cache of the API's discovery.
		for i := range 3 {
			now := time.Now()
			_, took, err := s.shed(b.Context(), seen, fmt.Sprintf("shop-%d", i))
			if err != nil {
				b.Fatal(err)
			}
			ended = r.zero(now)
			began = ended.Add(-took)
		}
		found := r.between(began, ended)
		b.ReportMetric(0, "ns/op")
		b.ReportMetric(float64(len(found)), "requests")
		results.note("", fmt.Sprintf("From the webhook to weight zero, backout sends %d requests to the API server (times in ms, through a recorder that slows them down):", len(found)))
		for _, q := range found {
			results.note(fmt.Sprintf("  %6.1f +%5.1f  %s", float64(q.began.Sub(began))/1e6, float64(q.ended.Sub(q.began))/1e6, q.what))
		}
	}
}

// zero returns when the first patch after that time was answered.
func (r *recorder) zero(after time.Time) time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, q := range r.requests {
		if q.began.After(after) && strings.HasPrefix(q.what, http.MethodPatch) {
			return q.ended
		}
	}
	return time.Time{}
}

// startOutside runs backout outside of the sandbox, so that it reaches the API server only
// through the recorder.
func (s *site) startOutside(b *testing.B, r *recorder) {
	b.Helper()
	var lc net.ListenConfig
	var addresses []string
	listen := func() net.Listener {
		l, err := lc.Listen(b.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		addresses = append(addresses, l.Addr().String())
		return l
	}
	server := &http.Server{Handler: r, ReadHeaderTimeout: time.Minute}
	front := listen()
	go func() { _ = server.Serve(front) }()
	b.Cleanup(func() { _ = server.Close() })
	for range 2 {
		_ = listen().Close() // a port that is free now
	}
	dir := b.TempDir()
	config := api.NewConfig()
	config.Clusters["recorded"] = &api.Cluster{Server: "http://" + addresses[0]}
	config.Contexts["recorded"] = &api.Context{Cluster: "recorded", Namespace: "default"}
	config.CurrentContext = "recorded"
	kubeconfig, token := filepath.Join(dir, "kubeconfig"), filepath.Join(dir, "token")
	if err := clientcmd.WriteToFile(*config, kubeconfig); err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(token, []byte(stage.Token), 0o600); err != nil {
		b.Fatal(err)
	}
	ctx, end := context.WithCancel(b.Context())
	cmd := exec.CommandContext(ctx, s.stage.BackoutPath())
	cmd.Env = []string{
		"KUBECONFIG=" + kubeconfig, "BACKOUT_LISTEN=" + addresses[1], "BACKOUT_OPS_LISTEN=" + addresses[2], "BACKOUT_TOKENS=*:" + token,
	}
	for name, value := range environment(shedSpace) {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { end(); _ = cmd.Wait() })
	s.sender = newSender("http://" + addresses[1] + "/api/v1/alerts")
	s.await(b, "http://"+addresses[2]+"/readyz")
}

// await polls until the answer is 200.
func (s *site) await(b *testing.B, url string) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
	defer cancel()
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			b.Fatal(err)
		}
		answer, err := s.sender.client.Do(request)
		if err == nil {
			_ = answer.Body.Close()
			if answer.StatusCode == http.StatusOK {
				return
			}
		}
		if ctx.Err() != nil {
			b.Fatalf("wait for backout: %v, %v", ctx.Err(), err)
		}
		pause(ctx, 50*time.Millisecond)
	}
}
