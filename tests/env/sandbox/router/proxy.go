package router

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"slices"
	"sync"
	"time"
)

const (
	// tries is the largest number of attempts of a request: ingress-nginx's proxy-next-upstream-tries.
	tries = 3
	// connectLimit bounds a connection attempt. Pods run on this machine: one that does not answer at once is gone.
	connectLimit = time.Second
	// answerLimit bounds the wait for a pod's headers: ingress-nginx's proxy-read-timeout.
	answerLimit = time.Minute
)

// BackendHeader is set in every answer and names the Service that received the request, so that a failure can be attributed
// to it.
const BackendHeader = "Sandbox-Backend"

// ServeHTTP forwards a request to its backend. The router itself answers 404 without a route, 500 for a backend that does not
// exist, 503 without a ready pod, 502 if no pod could be reached and 504 if none answered in time.
func (r *router) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	t := r.table.Load()
	if t == nil {
		http.Error(w, "the router is starting", http.StatusServiceUnavailable)
		return
	}
	matched := t.match(q)
	if matched == nil {
		http.Error(w, "there is no route to "+q.Host+q.URL.Path, http.StatusNotFound)
		return
	}
	b := matched.choose(q)
	if b == nil {
		http.Error(w, "the route has no backend", http.StatusInternalServerError)
		return
	}
	w.Header().Set(BackendHeader, b.service)
	matched.session.begin(w, b, matched.backends)
	proxy := httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) {
			p.Out.URL.Scheme, p.Out.URL.Host = "http", b.service // the Transport puts a pod's address in its place
			p.Out.Host = p.In.Host
			p.SetXForwarded()
		},
		Transport:    attempts{router: r, backend: *b},
		ErrorHandler: answerError,
	}
	proxy.ServeHTTP(w, q)
}

// errNoEndpoint says that every ready pod of a backend, if there is one, has been tried.
var errNoEndpoint = errors.New("there is no ready endpoint")

func answerError(w http.ResponseWriter, _ *http.Request, err error) {
	code := http.StatusBadGateway
	var timeout net.Error
	switch {
	case errors.Is(err, errNoEndpoint):
		code = http.StatusServiceUnavailable
	case errors.As(err, &timeout) && timeout.Timeout():
		code = http.StatusGatewayTimeout
	}
	http.Error(w, err.Error(), code)
}

// attempts sends one request to one pod after another until one answers, as ingress-nginx does by default (proxy-next-upstream:
// error timeout): a request that may have reached a pod is repeated only if it is idempotent.
type attempts struct {
	router  *router
	backend backend
}

// RoundTrip uses the newest table for each attempt: pods come and go during a request.
func (a attempts) RoundTrip(q *http.Request) (*http.Response, error) {
	var tried []string
	var last error
	for len(tried) < tries {
		address := a.router.table.Load().pods[a.backend].pick(tried)
		if address == "" {
			break
		}
		tried = append(tried, address)
		out := q.Clone(q.Context())
		out.URL.Host = address
		if out.Body != nil {
			out.Body = io.NopCloser(q.Body) // a failed attempt closes it
		}
		response, err := a.router.transports.of(address).RoundTrip(out)
		if err == nil {
			return response, nil
		}
		last = err
		if q.Context().Err() != nil || !repeatable(q, err) {
			break
		}
	}
	if last == nil {
		last = fmt.Errorf("send a request to service %s/%s: %w", a.backend.namespace, a.backend.service, errNoEndpoint)
	}
	return nil, last
}

// repeatable reports whether a request that failed with err may be sent again: nothing of it was sent, or it has no body and is
// idempotent.
func repeatable(q *http.Request, err error) bool {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" {
		return true
	}
	idempotent := []string{http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace, http.MethodPut, http.MethodDelete}
	return slices.Contains(idempotent, q.Method) && (q.Body == nil || q.Body == http.NoBody)
}

// transports holds the connections to each pod, so that those to a pod that is gone can be dropped.
type transports struct {
	mu    sync.Mutex
	byPod map[string]*http.Transport // by address
}

func (t *transports) of(address string) *http.Transport {
	t.mu.Lock()
	defer t.mu.Unlock()
	if transport, ok := t.byPod[address]; ok {
		return transport
	}
	dialer := net.Dialer{Timeout: connectLimit}
	transport := &http.Transport{
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			return dialer.DialContext(ctx, network, address)
		},
		MaxIdleConnsPerHost:   100,
		IdleConnTimeout:       time.Minute,
		ResponseHeaderTimeout: answerLimit,
		DisableCompression:    true,
	}
	if t.byPod == nil {
		t.byPod = map[string]*http.Transport{}
	}
	t.byPod[address] = transport
	return transport
}

// retain drops the idle connections to all other pods. Requests to them that are in progress go on.
func (t *transports) retain(pods map[backend]*ring) {
	ready := map[string]bool{}
	for _, r := range pods {
		for _, a := range r.addresses {
			ready[a] = true
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for address, transport := range t.byPod {
		if !ready[address] {
			transport.CloseIdleConnections()
			delete(t.byPod, address)
		}
	}
}
