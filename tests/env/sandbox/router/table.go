package router

import (
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
)

// backend is a port of a Service, by the port's name in the Service.
type backend struct {
	namespace, service, port string
}

// table contains the routes and pods at one moment. It is replaced, never changed; only its splits and rings advance.
type table struct {
	routes []route           // the first one that matches a request wins
	pods   map[backend]*ring // the ready pods; every backend of a route has a ring
}

// route sends requests to backends.
type route struct {
	host    hostMatch
	path    pathMatch
	headers []headerMatch
	// backends share the requests by split. A backend that cannot be resolved is nil: its share is answered with 500.
	backends []*backend
	split    *split
	// canary, if not nil, chooses between backends[0] and backends[1] before split does, and session before both.
	canary  *canaryRule
	session *session
}

// hostMatch is a host name, "*.name" for its subdomains, or "" for any.
type hostMatch struct {
	pattern string
	// oneLabel restricts a wildcard to one label, as in an Ingress; in an HTTPRoute it matches any number of labels.
	oneLabel bool
}

func (m hostMatch) matches(host string) bool {
	suffix, wildcard := strings.CutPrefix(m.pattern, "*")
	switch {
	case m.pattern == "":
		return true
	case !wildcard:
		return strings.EqualFold(host, m.pattern)
	}
	if len(host) <= len(suffix) || !strings.EqualFold(host[len(host)-len(suffix):], suffix) {
		return false
	}
	return !m.oneLabel || !strings.Contains(host[:len(host)-len(suffix)], ".")
}

// rank is greater the more specific the match is: a name ranks above a wildcard, a longer one above a shorter.
func (m hostMatch) rank() int {
	if m.pattern != "" && !strings.HasPrefix(m.pattern, "*") {
		return 1 << 16
	}
	return len(m.pattern)
}

// pathMatch matches a path and, unless exact, all paths below it.
type pathMatch struct {
	value string
	exact bool
}

func (m pathMatch) matches(path string) bool {
	if path == m.value {
		return true
	}
	if m.exact {
		return false
	}
	prefix := strings.TrimSuffix(m.value, "/")
	return path == prefix || strings.HasPrefix(path, prefix+"/")
}

func (m pathMatch) rank() int {
	if m.exact {
		return 1 << 16
	}
	return len(m.value)
}

// headerMatch is a header with exactly this value.
type headerMatch struct {
	name, value string
}

func (r *route) matches(host string, q *http.Request) bool {
	if !r.host.matches(host) || !r.path.matches(q.URL.Path) {
		return false
	}
	for _, h := range r.headers {
		if !slices.Contains(q.Header.Values(h.name), h.value) {
			return false
		}
	}
	return true
}

// sort puts the most specific routes first and keeps the order of equal ones.
func (t *table) sort() {
	slices.SortStableFunc(t.routes, func(a, b route) int {
		if d := b.host.rank() - a.host.rank(); d != 0 {
			return d
		}
		if d := b.path.rank() - a.path.rank(); d != 0 {
			return d
		}
		return len(b.headers) - len(a.headers)
	})
}

// match returns the route of a request, or nil.
func (t *table) match(q *http.Request) *route {
	host := q.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	for i := range t.routes {
		if t.routes[i].matches(host, q) {
			return &t.routes[i]
		}
	}
	return nil
}

// choose returns the backend for a request, or nil if the route has none.
func (r *route) choose(q *http.Request) *backend {
	turn := r.session.choose(q, r.backends)
	if turn < 0 && r.canary != nil {
		turn = r.canary.choose(q)
	}
	if turn < 0 {
		turn = r.split.next()
	}
	if turn < 0 {
		return nil
	}
	return r.backends[turn]
}

// canaryRule routes by header and by cookie, as ingress-nginx does. An empty name disables a part.
type canaryRule struct {
	header  string
	value   string         // of header; "": the words always and never decide
	pattern *regexp.Regexp // of header, if there is no value; nil: none
	cookie  string
}

// choose returns 1 for the canary, 0 for the stable backend, and -1 if the weight decides. A header with a value that does not
// match decides nothing.
func (c *canaryRule) choose(q *http.Request) int {
	if values := q.Header.Values(c.header); c.header != "" && len(values) > 0 {
		value := values[0]
		switch {
		case c.value != "":
			if value == c.value {
				return 1
			}
		case c.pattern != nil:
			if c.pattern.MatchString(value) {
				return 1
			}
		default:
			if turn := byWord(value); turn >= 0 {
				return turn
			}
		}
	}
	if c.cookie != "" {
		if cookie, err := q.Cookie(c.cookie); err == nil {
			return byWord(cookie.Value)
		}
	}
	return -1
}

func byWord(value string) int {
	switch value {
	case "always":
		return 1
	case "never":
		return 0
	}
	return -1
}
