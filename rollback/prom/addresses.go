package prom

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// kind is a kind of servers that evaluate rules, by its name.
type kind string

const (
	prometheusServers kind = "Prometheus"
	grafanaServers    kind = "Grafana"
)

// The names of its variables.
func (k kind) urls() string      { return k.prefix() + "URLS" }
func (k kind) tokenFile() string { return k.prefix() + "TOKEN_FILE" }
func (k kind) caFile() string    { return k.prefix() + "CA_FILE" }

func (k kind) prefix() string { return "BACKOUT_" + strings.ToUpper(string(k)) + "_" }

// evaluatorHint says what to do about a server that does not evaluate backout's rules.
func (k kind) evaluatorHint() string {
	return "load the rules, or name the servers that evaluate them in " + k.urls()
}

// addresses are the servers of a kind, and how backout queries them.
type addresses struct {
	kind              kind
	urls              []string
	tokenFile, caFile string
}

// validate returns all mistakes, each with the name of its variable and without the passwords that
// an address may contain.
func (a addresses) validate() error {
	var errs []error
	k, secure := a.kind, false
	for i, text := range a.urls {
		u, err := parseURL(text)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: address %d: %w", k.urls(), i+1, err))
			continue
		}
		secure = secure || u.Scheme == "https"
		if u.User != nil && a.tokenFile != "" {
			errs = append(errs, fmt.Errorf("%s: address %d (%s) contains a password, and would not get the token of %s: remove one of them", k.urls(), i+1, serverName(u), k.tokenFile()))
		}
		if slices.Contains(a.urls[:i], text) {
			errs = append(errs, fmt.Errorf("%s: address %d (%s) is listed twice: remove one", k.urls(), i+1, serverName(u)))
		}
	}
	if len(a.urls) == 0 && (a.tokenFile != "" || a.caFile != "") {
		errs = append(errs, fmt.Errorf("%s and %s need %s: without it, backout queries no server", k.tokenFile(), k.caFile(), k.urls()))
	}
	if len(a.urls) > 0 && a.caFile != "" && !secure {
		errs = append(errs, fmt.Errorf("%s has no effect, because no address in %s begins with https: remove it, or use https", k.caFile(), k.urls()))
	}
	return errors.Join(errs...)
}

// names are the servers in logs.
func (a addresses) names() []string {
	names := make([]string, len(a.urls))
	for i, text := range a.urls {
		names[i] = "?"
		if u, err := parseURL(text); err == nil {
			names[i] = serverName(u)
		}
	}
	return names
}

// parseURL does not quote the text in its error: it may contain a password.
func parseURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") || u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("want http://host:port or https://host:port, with a path prefix if the server has one")
	}
	return u, nil
}

// serverName is the server's name in errors and logs: its address without user, password
// and scheme.
func serverName(u *url.URL) string { return u.Host + strings.TrimRight(u.Path, "/") }
