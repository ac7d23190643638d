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

	"github.com/upcommerce/backout/tests/env/sandbox"
)

// Host is the storefront's host in its Ingress and its HTTPRoute. A browser resolves
// every name under localhost to this machine, so that a forwarded port is enough.
const Host = "canary-demo.localhost"

// routerAddress is the router's address inside the sandbox.
const routerAddress = sandbox.RouterAddress

// backendHeader names the Service that the router chose for a request.
const backendHeader = "Sandbox-Backend"

// visitLimit is how long a shopper waits for a page.
const visitLimit = 5 * time.Second

// Visit is one request of a shopper to the storefront.
type Visit struct {
	// At is when it was sent, Took how long it took.
	At   time.Time
	Took time.Duration
	// Code is the status, 0 if there was no answer; Err says why.
	Code int
	Err  error
	// Backend is the Service that the router chose, "" if the router does not say.
	// Version and Color are the page's.
	Backend, Version, Color string
}

// Failed reports whether the shopper did not get the page.
func (v Visit) Failed() bool { return v.Code != http.StatusOK }

// String describes the visit in a few words.
func (v Visit) String() string {
	answer := strings.TrimSpace(fmt.Sprintf("%d %s", v.Code, v.Version))
	if v.Err != nil {
		answer = v.Err.Error()
	}
	if v.Backend == "" {
		return answer
	}
	return v.Backend + ": " + answer
}

// Shoppers send requests to the storefront through the router, as users outside the
// cluster do.
type Shoppers struct {
	client    *http.Client
	url, host string
	headers   http.Header

	mu     sync.Mutex
	visits []Visit
}

// Shoppers returns the shoppers of the usual place. They send nothing yet.
func (c *Cluster) Shoppers() *Shoppers { return c.Usual().Shoppers() }

// Shoppers returns the shoppers of this place. They send nothing yet.
func (p Place) Shoppers() *Shoppers { return p.shoppers(p.Host) }

// With returns shoppers whose requests also have this header. They have no visits yet.
func (s *Shoppers) With(header, value string) *Shoppers {
	headers := s.headers.Clone()
	if headers == nil {
		headers = http.Header{}
	}
	headers.Set(header, value)
	return &Shoppers{client: s.client, url: s.url, host: s.host, headers: headers}
}

// ShoppersAt returns the shoppers of a storefront on any cluster. url is the address of
// its router, such as "http://192.0.2.1:30080", host the host name of its route.
func ShoppersAt(url, host string) *Shoppers {
	return newShoppers(strings.TrimSuffix(url, "/"), host, (&net.Dialer{Timeout: visitLimit}).DialContext)
}

func newShoppers(url, host string, dial func(context.Context, string, string) (net.Conn, error)) *Shoppers {
	return &Shoppers{url: url, host: host, client: &http.Client{
		Timeout:   visitLimit,
		Transport: &http.Transport{DialContext: dial, MaxIdleConnsPerHost: 64},
	}}
}

// The version and the colour on a page of the storefront.
var (
	pageVersion = regexp.MustCompile(`Hello from version (\S+?)[<\s]`)
	pageColor   = regexp.MustCompile(`background-color: ([#\w]+)`)
)

// Visit sends one request and stores the visit.
func (s *Shoppers) Visit(ctx context.Context) Visit {
	v := Visit{At: time.Now()}
	var text []byte
	v.Code, v.Backend, text, v.Err = s.get(ctx, "/")
	v.Took = time.Since(v.At)
	v.Version, v.Color = find(pageVersion, text), find(pageColor, text)
	if ctx.Err() != nil && v.Err != nil {
		return v // not a failure: the caller cancelled the visit
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.visits = append(s.visits, v)
	return v
}

// Read returns the storefront's answer at a path, and its status. It is not stored as a
// visit. The error is for requests without an answer; no status is an error.
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
	if s.headers != nil {
		request.Header = s.headers.Clone()
	}
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

// find returns the first group of the pattern in a page, "" if it does not match.
func find(pattern *regexp.Regexp, page []byte) string {
	if match := pattern.FindSubmatch(page); match != nil {
		return string(match[1])
	}
	return ""
}

// Stroll sends rate requests per second, evenly spread, until ctx ends, and returns
// when all are answered. No request waits for another.
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

// AwaitOpen waits until the storefront has answered, and each of the versions has: the
// router sees a ready pod a moment after the Deployment does. Its own visits are not
// stored.
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

// Visits returns the visits so far, in the order of sending.
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
	// Versions counts the pages, by version.
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

// Within reports whether the version's count is within the range that a fair split by
// the share gives in 99.9% of all cases, by the normal approximation of the binomial
// distribution. It is false if a request failed.
func (s Split) Within(version string, share float64) bool {
	const z = 3.29
	n := float64(s.Total)
	off := float64(s.Versions[version]) - n*share
	return s.Failed == 0 && off*off <= z*z*n*share*(1-share)
}

// String describes the split in one line.
func (s Split) String() string {
	versions := make([]string, 0, len(s.Versions))
	for v, n := range s.Versions {
		versions = append(versions, fmt.Sprintf("%s %.1f%%", v, 100*float64(n)/float64(s.Total)))
	}
	slices.Sort(versions)
	return fmt.Sprintf("%d requests: %s, %d failed", s.Total, strings.Join(versions, " "), s.Failed)
}
