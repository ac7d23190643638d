package chaos

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"time"

	"k8s.io/client-go/rest"
)

// Proxy connects the replicas of a trial to the API server, which they reach in
// no other way. It numbers their writes from 1, in the order of their arrival, and
// runs a Fault at a Moment. It does not count requests about a Lease as writes:
// their number depends on time. Nor does it count reviews of rights and identities, which store nothing.
type Proxy struct {
	upstream  *url.URL
	transport http.RoundTripper

	mu     sync.Mutex
	writes []Write
	faults map[Moment]Fault
	leader int
}

// Write is one request that changes something.
type Write struct {
	Number int
	// Replica is the number of the replica that sent it.
	Replica      int
	Method, Path string
	At           time.Time
	// Code is what the API server answered; 0 if it got no request.
	Code int
}

// String returns the write without the API's prefixes.
func (w Write) String() string {
	parts := strings.Split(w.Path, "/")
	return fmt.Sprintf("%d %s %s %d", w.Number, w.Method, strings.Join(parts[max(0, len(parts)-2):], "/"), w.Code)
}

// Moment is one side of a write: before it is passed on, or after the API server
// has answered and before backout receives the answer.
type Moment struct {
	Write int
	After bool
}

// String returns, for example, "before write 3".
func (m Moment) String() string {
	if m.After {
		return fmt.Sprintf("after write %d", m.Write)
	}
	return fmt.Sprintf("before write %d", m.Write)
}

// Fault runs at a Moment, and the write waits for it. If it returns an error, the
// proxy cuts the connection, so that backout never learns whether the write
// succeeded. If it returns errRefused before a write, the proxy answers 500.
type Fault func(Write) error

// A Fault returns errCut to cut the connection, errRefused to answer 500.
var (
	errCut     = errors.New("cut by the fault")
	errRefused = errors.New("refused by the fault")
)

// NewProxy returns a proxy to the API server of that configuration.
func NewProxy(config *rest.Config) (*Proxy, error) {
	upstream, err := url.Parse(config.Host)
	if err != nil {
		return nil, fmt.Errorf("read the API server's address: %w", err)
	}
	transport, err := rest.TransportFor(config)
	if err != nil {
		return nil, fmt.Errorf("connect to the API server: %w", err)
	}
	return &Proxy{upstream: upstream, transport: transport, faults: make(map[Moment]Fault), leader: -1}, nil
}

// Break runs the fault at the moment, once.
func (p *Proxy) Break(at Moment, f Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.faults[at] = f
}

// Writes returns the writes that have arrived so far.
func (p *Proxy) Writes() []Write {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]Write(nil), p.writes...)
}

// Leader returns the number of the replica that wrote the Lease last, -1 if none has.
func (p *Proxy) Leader() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.leader
}

// arrive numbers a write.
func (p *Proxy) arrive(replica int, r *http.Request) Write {
	p.mu.Lock()
	defer p.mu.Unlock()
	w := Write{Number: len(p.writes) + 1, Replica: replica, Method: r.Method, Path: r.URL.Path, At: time.Now()}
	p.writes = append(p.writes, w)
	return w
}

// answered stores the API server's answer to a write.
func (p *Proxy) answered(w Write, code int) Write {
	p.mu.Lock()
	defer p.mu.Unlock()
	w.Code = code
	p.writes[w.Number-1] = w
	return w
}

// happen runs the fault of the moment, if there is one.
func (p *Proxy) happen(at Moment, w Write) error {
	p.mu.Lock()
	f := p.faults[at]
	delete(p.faults, at)
	p.mu.Unlock()
	if f == nil {
		return nil
	}
	return f(w)
}

// changes reports whether the request is a write that counts.
func changes(r *http.Request) bool {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return false
	}
	path := r.URL.Path
	return !strings.Contains(path, "/leases") && !strings.HasSuffix(path, "/events") &&
		!strings.HasPrefix(path, "/apis/authorization.k8s.io/") && !strings.HasPrefix(path, "/apis/authentication.k8s.io/") && !r.URL.Query().Has("dryRun")
}

// Link is the connection of one replica to the API server. A test can cut it and
// open it again.
type Link struct {
	proxy   *Proxy
	replica int
	address string

	mu     sync.Mutex
	server *http.Server
}

// Link opens a link for the replica on a loopback port, and cuts it when ctx ends.
func (p *Proxy) Link(ctx context.Context, replica int) (*Link, error) {
	l := &Link{proxy: p, replica: replica, address: "127.0.0.1:0"}
	if err := l.Open(ctx); err != nil {
		return nil, err
	}
	context.AfterFunc(ctx, l.Cut)
	return l, nil
}

// URL is the API server's address for the replica.
func (l *Link) URL() string { return "http://" + l.address }

// Open lets requests through again, at the same address.
func (l *Link) Open(ctx context.Context) error {
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", l.address)
	if err != nil {
		return fmt.Errorf("open a link to the API server: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.address = listener.Addr().String()
	l.server = &http.Server{Handler: l, ReadHeaderTimeout: time.Minute}
	go func(s *http.Server) { _ = s.Serve(listener) }(l.server)
	return nil
}

// Cut refuses connections and cuts the open ones, as if the API server were gone.
func (l *Link) Cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	_ = l.server.Close()
}

// ServeHTTP passes a request on with the admin's rights. Watches stream.
func (l *Link) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	proxy := httputil.ReverseProxy{
		Rewrite: func(q *httputil.ProxyRequest) {
			q.SetURL(l.proxy.upstream)
			q.Out.Host = ""
		},
		Transport:     l.proxy.transport,
		FlushInterval: -1,
		ErrorHandler:  func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}
	switch {
	case strings.Contains(r.URL.Path, "/leases") && r.Method != http.MethodGet:
		proxy.ModifyResponse = l.leads
	case changes(r):
		write := l.proxy.arrive(l.replica, r)
		switch err := l.proxy.happen(Moment{Write: write.Number}, write); {
		case errors.Is(err, errRefused):
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		case err != nil:
			panic(http.ErrAbortHandler)
		}
		proxy.ModifyResponse = func(answer *http.Response) error {
			write := l.proxy.answered(write, answer.StatusCode)
			return l.proxy.happen(Moment{Write: write.Number, After: true}, write)
		}
	}
	proxy.ServeHTTP(w, r)
}

// leads stores which replica holds the Lease.
func (l *Link) leads(answer *http.Response) error {
	if answer.StatusCode < http.StatusMultipleChoices {
		l.proxy.mu.Lock()
		defer l.proxy.mu.Unlock()
		l.proxy.leader = l.replica
	}
	return nil
}
