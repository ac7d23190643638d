package stage

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/upcommerce/backout/tests/sandbox"
)

// Host is where the storefront is, by its Ingress or its HTTPRoute. A browser takes
// every name under localhost for this machine, so that a forwarded port is enough.
const Host = "canary-demo.localhost"

// routerAddress is where the router listens inside.
const routerAddress = sandbox.RouterAddress

// backendHeader names the Service that the router chose for a request.
const backendHeader = "Sandbox-Backend"

// visitLimit bounds one request: a shopper does not wait for longer.
const visitLimit = 5 * time.Second

// Visit is one request of a shopper's to the storefront.
type Visit struct {
	// At is when it was sent, Took how long it took.
	At   time.Time
	Took time.Duration
	// Code is the status, 0 if there was no answer; Err says why.
	Code int
	Err  error
	// Backend is the Service that the router chose, if the router says so. Version
	// and Color are what the page says.
	Backend, Version, Color string
}

// Failed reports whether the shopper did not get the page.
func (v Visit) Failed() bool { return v.Code != http.StatusOK }

// String tells the visit in a few words.
func (v Visit) String() string {
	if v.Err != nil {
		return fmt.Sprintf("%s: %v", v.Backend, v.Err)
	}
	return fmt.Sprintf("%s: %d %s", v.Backend, v.Code, v.Version)
}

// Shoppers send requests to the storefront through the router, as people outside
// would.
type Shoppers struct {
	client    *http.Client
	url, host string

	mu     sync.Mutex
	visits []Visit
}

// Shoppers returns some who have not begun.
func (s *Stage) Shoppers() *Shoppers { return s.usual().Shoppers() }

// Shoppers returns some of this place's who have not begun.
func (p Place) Shoppers() *Shoppers {
	return newShoppers("http://"+p.Host, p.Host, func(ctx context.Context, _, _ string) (net.Conn, error) {
		// Whatever the host is called, the router is where it lives.
		return p.stage.Sandbox.Dial(ctx, routerAddress)
	})
}

// ShoppersAt returns some who go to a storefront anywhere: to the address of its
// router, "http://192.0.2.1:30080", for the host that its route asks for.
func ShoppersAt(url, host string) *Shoppers {
	return newShoppers(strings.TrimSuffix(url, "/"), host, (&net.Dialer{Timeout: visitLimit}).DialContext)
}

func newShoppers(url, host string, dial func(context.Context, string, string) (net.Conn, error)) *Shoppers {
	return &Shoppers{url: url, host: host, client: &http.Client{
		Timeout:   visitLimit,
		Transport: &http.Transport{DialContext: dial, MaxIdleConnsPerHost: 64},
	}}
}

// What a page of the storefront says of itself.
var (
	pageVersion = regexp.MustCompile(`Hello from version (\S+?)[<\s]`)
	pageColor   = regexp.MustCompile(`background-color: ([#\w]+)`)
)

// Visit sends one request and notes it.
func (s *Shoppers) Visit(ctx context.Context) Visit {
	v := Visit{At: time.Now()}
	var text []byte
	v.Code, v.Backend, text, v.Err = s.get(ctx, "/")
	v.Took = time.Since(v.At)
	v.Version, v.Color = said(pageVersion, text), said(pageColor, text)
	if ctx.Err() != nil && v.Err != nil {
		return v // nobody's failure: the shopper was called home
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.visits = append(s.visits, v)
	return v
}

// Read returns what the storefront answers at a path, and the status; it is not
// noted as a visit. No answer is an error, any status is none.
func (s *Shoppers) Read(ctx context.Context, path string) (code int, text string, err error) {
	code, _, b, err := s.get(ctx, path)
	return code, string(b), err
}

// get returns code 0 with every error.
func (s *Shoppers) get(ctx context.Context, path string) (code int, backend string, text []byte, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+path, nil)
	if err != nil {
		return 0, "", nil, err
	}
	request.Host = s.host
	response, err := s.client.Do(request)
	if err != nil {
		return 0, "", nil, err
	}
	defer func() { _ = response.Body.Close() }()
	backend = response.Header.Get(backendHeader)
	if text, err = io.ReadAll(response.Body); err != nil {
		return 0, backend, nil, err
	}
	return response.StatusCode, backend, text, nil
}

// said returns what a page says, "" if it does not.
func said(what *regexp.Regexp, page []byte) string {
	if match := what.FindSubmatch(page); match != nil {
		return string(match[1])
	}
	return ""
}

// Stroll sends rate requests a second, evenly spread, until ctx ends, and returns
// when all are answered. No request waits for another one.
func (s *Shoppers) Stroll(ctx context.Context, rate int) {
	tick := time.NewTicker(time.Second / time.Duration(rate))
	defer tick.Stop()
	var out sync.WaitGroup
	defer out.Wait()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			out.Go(func() { s.Visit(context.WithoutCancel(ctx)) })
		}
	}
}

// AwaitOpen waits until the storefront answers, and until each of the versions
// has: a router learns of a ready pod a moment after the Deployment does. What was
// tried until then is not noted.
func (s *Shoppers) AwaitOpen(ctx context.Context, versions ...string) error {
	for {
		v := s.Visit(ctx)
		s.mu.Lock()
		s.visits = nil
		s.mu.Unlock()
		versions = slices.DeleteFunc(slices.Clone(versions), func(version string) bool { return version == v.Version })
		if !v.Failed() && len(versions) == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for the storefront: %w (last answer: %s, not seen: %v)", ctx.Err(), v, versions)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Visits returns what was noted so far, in the order of sending.
func (s *Shoppers) Visits() []Visit {
	s.mu.Lock()
	defer s.mu.Unlock()
	visits := slices.Clone(s.visits)
	slices.SortFunc(visits, func(a, b Visit) int { return a.At.Compare(b.At) })
	return visits
}

// Split is how the storefront's versions shared a number of requests.
type Split struct {
	Total, Failed int
	// Versions counts the pages, by what they say.
	Versions map[string]int
}

// Split sends n requests, a few at a time, and counts the answers.
func (s *Shoppers) Split(ctx context.Context, n int) Split {
	split := Split{Total: n, Versions: make(map[string]int)}
	var mu sync.Mutex
	var senders sync.WaitGroup
	numbers := make(chan struct{})
	for range 4 {
		senders.Go(func() {
			for range numbers {
				v := s.Visit(ctx)
				mu.Lock()
				if v.Failed() {
					split.Failed++
				} else {
					split.Versions[v.Version]++
				}
				mu.Unlock()
			}
		})
	}
	for range n {
		numbers <- struct{}{}
	}
	close(numbers)
	senders.Wait()
	return split
}

// Within reports whether that version's count is one that a fair split by the
// share would give in 99.9% of all cases, by the normal approximation of the
// binomial distribution. It is false if a request failed.
func (s Split) Within(version string, share float64) bool {
	const z = 3.29
	n := float64(s.Total)
	off := float64(s.Versions[version]) - n*share
	return s.Failed == 0 && off*off <= z*z*n*share*(1-share)
}

// String tells the split in one line.
func (s Split) String() string {
	versions := make([]string, 0, len(s.Versions))
	for v, n := range s.Versions {
		versions = append(versions, fmt.Sprintf("%s %.1f%%", v, 100*float64(n)/float64(s.Total)))
	}
	slices.Sort(versions)
	return fmt.Sprintf("%d requests: %s, %d failed", s.Total, strings.Join(versions, " "), s.Failed)
}
