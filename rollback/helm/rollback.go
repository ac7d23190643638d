package helm

import (
	"context"
	"fmt"
	"io"
	"strings"

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
// is no longer the newest, and an error, having changed nothing, if a manifest
// cannot be built. Any other error may leave the new revision behind,
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
	if err := guarded.check(); err != nil {
		return 0, err // what preflight reads could be gone by now
	}
	if err := c.preflight(objects, p); err != nil {
		return 0, err
	}
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

// preflight builds the objects of both revisions, as Helm does only after it has
// written the new revision: an error would then leave the release pending.
func (c *Client) preflight(objects *kube.Client, p rollback.Plan) error {
	for _, number := range []int{p.Accused.Number, p.Target} {
		stored, err := read(c.store(p.Key.Namespace), secretName(p.Key.Release, number))
		if err != nil {
			return fmt.Errorf("read revision %d of %s: %w", number, p.Key, err)
		}
		if _, err = objects.Build(strings.NewReader(stored.Manifest), false); err != nil {
			// The API may have been extended since it was last looked at.
			c.mapper.Reset()
			_, err = objects.Build(strings.NewReader(stored.Manifest), false)
		}
		if err != nil {
			return fmt.Errorf("build the objects of %s revision %d: %w", p.Key, number, err)
		}
	}
	return nil
}
