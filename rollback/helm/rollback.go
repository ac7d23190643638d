package helm

import (
	"context"
	"fmt"
	"io"

	"helm.sh/helm/v3/pkg/action"
	"helm.sh/helm/v3/pkg/kube"
	"helm.sh/helm/v3/pkg/storage"

	"github.com/upcommerce/backout/rollback"
)

// RollBack has Helm go back to the planned target and returns the number of the
// revision that Helm made. It does not wait for pods; hooks of the target run,
// each within the plan's timeout.
//
// It returns rollback.ErrMoved, having changed nothing, if the accused revision
// is no longer the newest. Any other error may leave the new revision behind,
// as failed or as pending-rollback.
//
// Helm takes no context: once begun, the rollback runs to its end.
func (c *Client) RollBack(ctx context.Context, p rollback.Plan) (int, error) {
	if p.Target < 1 || p.Target >= p.Accused.Number {
		return 0, fmt.Errorf("roll %s back: target %d is not older than revision %d", p.Key, p.Target, p.Accused.Number)
	}
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	guarded := &guard{Driver: c.store(p.Key.Namespace), ctx: ctx, plan: p, newest: func(ctx context.Context) (int, string, error) {
		heads, err := c.heads(ctx, p.Key)
		if err != nil {
			return 0, "", err
		}
		return heads[0].number, heads[0].uid, nil
	}}
	objects := kube.New(getter{client: c, namespace: p.Key.Namespace})
	objects.Namespace = p.Key.Namespace
	objects.Log = c.debug(ctx)
	run := action.NewRollback(&action.Configuration{
		RESTClientGetter: getter{client: c, namespace: p.Key.Namespace},
		Releases:         storage.Init(guarded),
		KubeClient:       &holding{Client: objects, hold: p.Hold},
		Log:              c.debug(ctx),
		HookOutputFunc:   func(_, _, _ string) io.Writer { return io.Discard },
	})
	run.Version = p.Target
	run.Timeout = p.HookTimeout
	if err := run.Run(p.Key.Release); err != nil {
		return 0, fmt.Errorf("roll %s back to revision %d: %w", p.Key, p.Target, err)
	}
	return p.Accused.Number + 1, nil
}
