package overload_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/overload"
)

func TestOverload(t *testing.T) {
	routes := schema.GroupResource{Resource: "ingresses"}
	for name, tt := range map[string]struct {
		err        error
		overloaded bool
		after      time.Duration
	}{
		"no error":                    {},
		"too many requests":           {apierrors.NewTooManyRequests("later", 7), true, 7 * time.Second},
		"a timeout of the API server": {apierrors.NewServerTimeout(routes, "patch", 3), true, 3 * time.Second},
		"an internal error":           {apierrors.NewInternalError(errors.New("etcdserver: leader changed")), true, 0},
		"a webhook that is away":      {apierrors.NewInternalError(errors.New(`failed calling webhook "x": no endpoints`)), false, 0},
		"forbidden":                   {apierrors.NewForbidden(routes, "shop", errors.New("no")), false, 0},
		"a conflict":                  {apierrors.NewConflict(routes, "shop", errors.New("changed")), false, 0},
		"no answer in time":           {context.DeadlineExceeded, true, 0},
		"no connection":               {&net.OpError{Op: "dial", Err: errors.New("connection refused")}, true, 0},
		"another error":               {errors.New("a manifest cannot be built"), false, 0},
	} {
		t.Run(name, func(t *testing.T) {
			err := tt.err
			if err != nil {
				err = fmt.Errorf("roll back: %w", err)
			}
			got := overload.Of(err)
			var found *rollback.OverloadedError
			if errors.As(got, &found) != tt.overloaded || found != nil && found.RetryAfter != tt.after {
				t.Errorf("%#v; want an overload: %t, after %s", got, tt.overloaded, tt.after)
			}
			if !errors.Is(got, err) {
				t.Errorf("%v; want %v in it", got, err)
			}
		})
	}
}
