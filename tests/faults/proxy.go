package faults

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

// Proxy is the only way from the processes of a trial to the API server. It
// numbers their writes from 1, in the order of their arrival, and lets a Fault
// happen at a Moment. Requests about a Lease are no writes: how many there are
// is a matter of time.
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
	// Door is that of the process that sent it.
	Door         int
	Method, Path string
	At           time.Time
	// Code is what the API server answered; 0 if it was not asked.
	Code int
}

// String tells the write without the API's prefixes.
func (w Write) String() string {
	parts := strings.Split(w.Path, "/")
	return fmt.Sprintf("%d %s %s %d", w.Number, w.Method, strings.Join(parts[max(0, len(parts)-2):], "/"), w.Code)
}

// Moment is one side of a write: before it is passed on, or after the API server
// has answered and before backout hears of it.
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

// Fault is what happens at a Moment. The write waits for it. Its error cuts the
// connection, so that backout never learns what became of the write; but before a
// write errRefused answers it.
type Fault func(Write) error

// errCut is the error of a Fault that only cuts the connection; errRefused that
// of one that has the API server answer 500.
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
		return nil, fmt.Errorf("find the way to the API server: %w", err)
	}
	return &Proxy{upstream: upstream, transport: transport, faults: make(map[Moment]Fault), leader: -1}, nil
}

// Break lets the fault happen at the moment, once.
func (p *Proxy) Break(at Moment, f Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.faults[at] = f
}

// Writes returns what has arrived so far.
func (p *Proxy) Writes() []Write {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]Write(nil), p.writes...)
}

// Leader returns the door whose process wrote the Lease last, -1 before.
func (p *Proxy) Leader() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.leader
}

// arrive numbers a write.
func (p *Proxy) arrive(door int, r *http.Request) Write {
	p.mu.Lock()
	defer p.mu.Unlock()
	w := Write{Number: len(p.writes) + 1, Door: door, Method: r.Method, Path: r.URL.Path, At: time.Now()}
	p.writes = append(p.writes, w)
	return w
}

// answered notes the API server's answer to a write.
func (p *Proxy) answered(w Write, code int) Write {
	p.mu.Lock()
	defer p.mu.Unlock()
	w.Code = code
	p.writes[w.Number-1] = w
	return w
}

// happen lets the fault of the moment happen, if there is one.
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
		!strings.Contains(path, ".authorization.k8s.io/") && !r.URL.Query().Has("dryRun")
}

// Door is where one process enters. It can be shut and opened again.
type Door struct {
	proxy   *Proxy
	number  int
	address string

	mu     sync.Mutex
	server *http.Server
}

// Open opens a door on a loopback port. It is shut when ctx ends.
func (p *Proxy) Open(ctx context.Context, number int) (*Door, error) {
	d := &Door{proxy: p, number: number, address: "127.0.0.1:0"}
	if err := d.Open(ctx); err != nil {
		return nil, err
	}
	context.AfterFunc(ctx, d.Shut)
	return d, nil
}

// URL is the API server's address for the process.
func (d *Door) URL() string { return "http://" + d.address }

// Open lets requests through again.
func (d *Door) Open(ctx context.Context) error {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", d.address)
	if err != nil {
		return fmt.Errorf("open the door to the API server: %w", err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.address = l.Addr().String()
	d.server = &http.Server{Handler: d, ReadHeaderTimeout: time.Minute}
	go func(s *http.Server) { _ = s.Serve(l) }(d.server)
	return nil
}

// Shut refuses connections and cuts the open ones: the API server is gone.
func (d *Door) Shut() {
	d.mu.Lock()
	defer d.mu.Unlock()
	_ = d.server.Close()
}

// ServeHTTP passes a request on with the admin's rights. Watches stream.
func (d *Door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	proxy := httputil.ReverseProxy{
		Rewrite: func(q *httputil.ProxyRequest) {
			q.SetURL(d.proxy.upstream)
			q.Out.Host = ""
		},
		Transport:     d.proxy.transport,
		FlushInterval: -1,
		ErrorHandler:  func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}
	switch {
	case strings.Contains(r.URL.Path, "/leases") && r.Method != http.MethodGet:
		proxy.ModifyResponse = d.leads
	case changes(r):
		write := d.proxy.arrive(d.number, r)
		switch err := d.proxy.happen(Moment{Write: write.Number}, write); {
		case errors.Is(err, errRefused):
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		case err != nil:
			panic(http.ErrAbortHandler)
		}
		proxy.ModifyResponse = func(answer *http.Response) error {
			write := d.proxy.answered(write, answer.StatusCode)
			return d.proxy.happen(Moment{Write: write.Number, After: true}, write)
		}
	}
	proxy.ServeHTTP(w, r)
}

// leads notes whose process holds the Lease.
func (d *Door) leads(answer *http.Response) error {
	if answer.StatusCode < http.StatusMultipleChoices {
		d.proxy.mu.Lock()
		defer d.proxy.mu.Unlock()
		d.proxy.leader = d.number
	}
	return nil
}
