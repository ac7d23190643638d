package helm

import (
	"context"
	"fmt"
	"io"
	"strings"

	"helm.sh/helm/v3/pkg/action"
	"helm.sh/helm/v3/pkg/kube"
	"helm.sh/helm/v3/pkg/release"
	"helm.sh/helm/v3/pkg/storage"
	"helm.sh/helm/v3/pkg/storage/driver"

	"github.com/upcommerce/backout/rollback"
)

// RollBack has Helm go back to the planned target and returns the number of the
// revision that Helm made. It does not wait for pods; hooks of the target run,
// each within the plan's timeout. What an interrupted attempt has left between
// the accused revision and the target is brought to the target, too.
//
// What is live afterwards is what the target declares, but for the weights that the
// plan holds, the objects that Helm is told to keep, and numbers of replicas. A
// number stays as it is, also through interrupted attempts, where an autoscaler
// scales the workload, be it live or declared by either revision, and where the
// target declares none; only where the autoscaler goes and the target declares more
// is that written.
//
// It returns rollback.ErrMoved, having changed nothing, if the newest revision
// is not the planned one; also, having begun, if somebody else wrote the new
// revision meanwhile. It returns an error, having changed nothing, if a
// manifest cannot be built or the newest revision is pending. Any other error
// may leave the new revision behind, as failed or as pending-rollback, and
// objects between the two revisions.
//
// Helm takes no context: once begun, the rollback runs to its end.
func (c *Client) RollBack(ctx context.Context, p rollback.Plan) (int, error) {
	if err := valid(p); err != nil {
		return 0, fmt.Errorf("roll %s back: %w", p.Key, err)
	}
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	guarded := c.guard(ctx, p)
	objects := c.kube(ctx, p.Key.Namespace)
	if err := guarded.check(); err != nil {
		return 0, err // what preflight reads could be gone by now
	}
	if err := c.preflight(guarded, objects); err != nil {
		return 0, err
	}
	run := action.NewRollback(&action.Configuration{
		RESTClientGetter: getter{client: c, namespace: p.Key.Namespace, config: c.config},
		Releases:         storage.Init(guarded),
		KubeClient:       &holding{Client: objects, ctx: ctx, hold: p.Hold, scalers: c.scalers},
		Log:              c.debug(ctx),
		HookOutputFunc:   func(_, _, _ string) io.Writer { return io.Discard },
	})
	run.Version = p.Target
	run.Timeout = p.HookTimeout
	if err := run.Run(p.Key.Release); err != nil {
		return 0, fmt.Errorf("roll %s back to revision %d: %w", p.Key, p.Target, err)
	}
	return p.Newest.Number + 1, nil
}

// valid refuses what Helm would take for something else: target 0 for the
// revision before the newest, timeout 0 for no limit.
func valid(p rollback.Plan) error {
	switch {
	case p.Target < 1 || p.Target >= p.Accused.Number:
		return fmt.Errorf("target %d is not older than revision %d", p.Target, p.Accused.Number)
	case p.Newest.Number < p.Accused.Number:
		return fmt.Errorf("revision %d cannot be the newest: %d is accused", p.Newest.Number, p.Accused.Number)
	case p.HookTimeout <= 0:
		return fmt.Errorf("a hook timeout of %s would let a hook hang for ever", p.HookTimeout)
	}
	return nil
}

func (c *Client) guard(ctx context.Context, p rollback.Plan) *guard {
	secrets := newClaimed(c.clientset.CoreV1().Secrets(p.Key.Namespace), p.Accused.UID)
	return &guard{
		Driver: driver.NewSecrets(secrets), ctx: ctx, plan: p, stored: make(map[string]*release.Release),
		heads: func(ctx context.Context) ([]head, error) { return c.heads(ctx, p.Key) },
		supersede: func(ctx context.Context, revision int) error {
			return c.supersede(ctx, p.Key, revision)
		},
	}
}

// preflight does beforehand what can go wrong only after Helm has written the new
// revision, which would then be left behind: it builds the objects of both
// sides and reads what is autoscaled.
func (c *Client) preflight(g *guard, objects *kube.Client) error {
	live, err := g.live()
	if err != nil {
		return err
	}
	target, err := g.revision(g.plan.Target)
	if err != nil {
		return err
	}
	was, err := c.build(objects, live)
	if err != nil {
		return fmt.Errorf("build the objects of %s revision %d: %w", g.plan.Key, g.plan.Accused.Number, err)
	}
	will, err := c.build(objects, target.Manifest)
	if err != nil {
		return fmt.Errorf("build the objects of %s revision %d: %w", g.plan.Key, g.plan.Target, err)
	}
	return keepReplicas(g.ctx, was, will, c.scalers)
}

// build makes a manifest's objects ready to be written. The API may have been
// extended since it was last looked at: what it does not know is looked up anew.
func (c *Client) build(objects *kube.Client, manifest string) (kube.ResourceList, error) {
	built, err := objects.Build(strings.NewReader(manifest), false)
	if err != nil {
		c.mapper.Reset()
		built, err = objects.Build(strings.NewReader(manifest), false)
	}
	return built, err
}
