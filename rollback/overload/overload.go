// Package overload recognizes the errors of an API server that did not take a request on.
package overload

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/upcommerce/backout/rollback"
)

// Of returns the error as a *rollback.OverloadedError if it is one of Is, and else err itself.
func Of(err error) error {
	if !Is(err) {
		return err
	}
	seconds, _ := apierrors.SuggestsClientDelay(err)
	return &rollback.OverloadedError{RetryAfter: time.Duration(seconds) * time.Second, Err: err}
}

// Is reports whether the API server did not take the request on: it answered 429 or 5xx, or not
// in time, or cannot be reached. An admission webhook that does not answer is not the API server's
// load.
func Is(err error) bool {
	var status apierrors.APIStatus
	if errors.As(err, &status) {
		code := status.Status().Code
		return code == http.StatusTooManyRequests || code >= 500 && !strings.Contains(err.Error(), "failed calling webhook")
	}
	var network net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &network)
}
