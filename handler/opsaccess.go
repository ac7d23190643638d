package handler

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/gin-gonic/gin"
)

// How readers authenticate at the ops listener.
const (
	// OpsAuthNone lets everyone read who can reach the listener.
	OpsAuthNone = "none"
	// OpsAuthKubernetes asks the API server about the reader's token, and whether its user may
	// get the path as a nonResourceURL.
	OpsAuthKubernetes = "kubernetes"
)

// Errors of Options.OpsAccess.
var (
	// ErrUnauthenticated says that the token is no user's.
	ErrUnauthenticated = errors.New("the bearer token is not valid")
	// ErrForbidden says that the token's user may not read the path. Its text names both.
	ErrForbidden = errors.New("not allowed")
)

// opsAccess lets the readers of the ops listener pass that may read.
type opsAccess struct {
	// may returns nil if the token's user may get the path, or ErrUnauthenticated or
	// ErrForbidden.
	may func(ctx context.Context, token, path string) error
}

// openPaths are for the kubelet, which has no token.
func openPaths() []string { return []string{"/healthz", "/readyz"} }

// rightFor returns the nonResourceURL that a reader of a path needs. Every user of a cluster may
// get /api and what is below it there, so that backout's own paths have a prefix; /metrics has
// the name that it has elsewhere.
func rightFor(path string) string {
	if path == "/metrics" {
		return path
	}
	return "/backout" + path
}

// check answers 401 without a valid token, 403 if its user has no right, and 503 if the API
// server does not say.
func (a opsAccess) check(c *gin.Context) {
	if slices.Contains(openPaths(), c.Request.URL.Path) {
		return
	}
	scheme, token, _ := strings.Cut(c.GetHeader("Authorization"), " ")
	if token = strings.TrimSpace(token); !strings.EqualFold(scheme, "Bearer") || token == "" {
		c.Header("WWW-Authenticate", "Bearer")
		c.AbortWithStatusJSON(http.StatusUnauthorized, problem{"the ops listener demands a bearer token", "present the token of a service account that may get " + rightFor(c.Request.URL.Path) + " as a nonResourceURL"})
		return
	}
	switch err := a.may(c.Request.Context(), token, rightFor(c.Request.URL.Path)); {
	case err == nil:
	case errors.Is(err, ErrUnauthenticated):
		c.Header("WWW-Authenticate", "Bearer")
		c.AbortWithStatusJSON(http.StatusUnauthorized, problem{err.Error(), "present a token that the API server accepts"})
	case errors.Is(err, ErrForbidden):
		c.AbortWithStatusJSON(http.StatusForbidden, problem{err.Error(), "bind the user to a ClusterRole with get on this nonResourceURL"})
	default:
		c.AbortWithStatusJSON(http.StatusServiceUnavailable, problem{
			"the API server did not say whether the token may read: " + err.Error(),
			"give backout the ClusterRole system:auth-delegator, or try again",
		})
	}
}
