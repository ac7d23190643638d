package serve

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	authenticationv1 "k8s.io/api/authentication/v1"
	"k8s.io/client-go/rest"
)

// accounts are the service accounts, in backout's own namespace, as which backout works in
// the targets' namespaces: names by the target's namespace. None means that backout works
// there as itself.
type accounts struct {
	own   string
	names map[string]string
}

// user returns the name of the user as which backout works in the namespace; "" for
// itself.
func (a accounts) user(namespace string) string {
	name, ok := a.names[namespace]
	if !ok {
		return ""
	}
	return "system:serviceaccount:" + a.own + ":" + name
}

// validate returns an error unless there are no accounts, or one for each of the targets.
func (a accounts) validate(targets []string) error {
	if len(a.names) == 0 {
		return nil
	}
	for _, namespace := range targets {
		if a.names[namespace] == "" {
			return fmt.Errorf("%sTARGET_ACCOUNTS names no service account for namespace %s, which %sRELEASES names: want NAMESPACE:ACCOUNT for each",
				Prefix, namespace, Prefix)
		}
	}
	for _, namespace := range slices.Sorted(maps.Keys(a.names)) {
		if !slices.Contains(targets, namespace) {
			return fmt.Errorf("%sTARGET_ACCOUNTS names namespace %s, but %sRELEASES no release there", Prefix, namespace, Prefix)
		}
	}
	return nil
}

// impersonate returns a copy of the configuration whose clients send each request about a
// target's namespace as the target's account. Requests that name a user keep it: a rollback
// is sent as its own target's account, whatever namespace its objects name.
func (a accounts) impersonate(config *rest.Config) *rest.Config {
	if len(a.names) == 0 {
		return config
	}
	config = rest.CopyConfig(config)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return impersonation{a, next} })
	return config
}

type impersonation struct {
	accounts
	next http.RoundTripper
}

// RoundTrip adds the user to a copy of the request.
func (t impersonation) RoundTrip(q *http.Request) (*http.Response, error) {
	user := t.user(t.target(q.URL.Path))
	if user == "" || q.Header.Get(authenticationv1.ImpersonateUserHeader) != "" {
		return t.next.RoundTrip(q)
	}
	q = q.Clone(q.Context())
	q.Header.Set(authenticationv1.ImpersonateUserHeader, user)
	return t.next.RoundTrip(q)
}

// WrappedRoundTripper lets client-go close idle connections.
func (t impersonation) WrappedRoundTripper() http.RoundTripper { return t.next }

// target returns the namespace of a request's path; "" for backout's own Lease.
func (t impersonation) target(path string) string {
	_, rest, found := strings.Cut(path, "/namespaces/")
	namespace, _, _ := strings.Cut(rest, "/")
	if !found || namespace == t.own && strings.Contains(path, "/apis/coordination.k8s.io/") {
		return ""
	}
	return namespace
}
