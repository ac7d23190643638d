package helm

import (
	"context"
	"fmt"
	"io"

	"helm.sh/helm/v3/pkg/action"
	"helm.sh/helm/v3/pkg/kube"
	"helm.sh/helm/v3/pkg/release"
	"helm.sh/helm/v3/pkg/storage"
	"helm.sh/helm/v3/pkg/storage/driver"

	"github.com/upcommerce/backout/rollback"
)

// RollBack rolls back to the planned target with Helm, and returns the number of the
// revision that Helm made. It does not wait for pods; hooks of the target run, each
// within the plan's timeout. If an interrupted attempt left objects between the suspect
// revision and the target, they become the target's too.
//
// Helm visits only objects that the revisions declare differently, or that are missing: one
// that both declare the same stays as it is, and so does one that differs in weights or
// replicas alone if backout may not read it or the API server refuses the change.
//
// Afterwards the visited objects are those that the target declares, except for the weights
// that the plan holds, the objects that Helm is configured to keep, and numbers of
// replicas. A number is never lowered. It stays as it is, also through interrupted attempts,
// if an autoscaler scales the workload, be it live or declared by either revision, and if
// the target declares no number; where the autoscaler goes, a greater number of the target
// is written.
//
// RollBack returns rollback.ErrRevisionChanged, having changed nothing, if the newest
// revision is not the planned one; also, after it has begun, if another client wrote the
// new revision meanwhile. It returns an error, having changed nothing, if a manifest
// cannot be built, if an object would have to be written that is not the release's own, if
// the rollback of another large release runs, or if the newest revision is pending. Any other error may leave behind
// the new revision, as failed or as pending-rollback, and objects between the two
// revisions.
//
// An error of an API server that did not take a request on is a *rollback.OverloadedError.
//
// Helm takes no context: once begun, the rollback runs to its end.
func (c *Client) RollBack(ctx context.Context, p rollback.Plan) (int, error) {
	var seen overloads
	made, err := c.rollBack(ctx, p, &seen)
	return made, seen.of(err)
}

func (c *Client) rollBack(ctx context.Context, p rollback.Plan, seen *overloads) (int, error) {
	if err := validatePlan(p); err != nil {
		return 0, fmt.Errorf("roll %s back: %w", p.Key, err)
	}
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	guarded, err := c.guard(ctx, p)
	if err != nil {
		return 0, err
	}
	objects := c.kube(ctx, p.Key.Namespace, seen)
	if err := guarded.checkPlan(); err != nil {
		return 0, err // else prepare could fail to read a revision that is gone
	}
	end, err := c.rollBackLarge(ctx, guarded)
	if err != nil {
		return 0, err
	}
	defer end()
	var confined confinement
	if err = c.again(func() (err error) {
		confined, err = c.prepare(guarded, objects)
		return err
	}); err != nil {
		return 0, err
	}
	run := action.NewRollback(&action.Configuration{
		RESTClientGetter: getter{client: c, namespace: p.Key.Namespace, config: c.asUser(p.Key.Namespace)},
		Releases:         storage.Init(guarded),
		KubeClient: &holdingClient{
			Client: objects, ctx: ctx, confined: confined, hold: p.Hold, scalers: c.scalerLister(func(error) {}), unfinished: confined.unfinished, unserved: confined.unserved,
		},
		Log:            c.debug(ctx),
		HookOutputFunc: func(_, _, _ string) io.Writer { return io.Discard },
	})
	run.Version = p.Target
	run.Timeout = p.HookTimeout
	if err := run.Run(p.Key.Release); err != nil {
		return 0, fmt.Errorf("roll %s back to revision %d: %w", p.Key, p.Target, err)
	}
	return p.Newest.Number + 1, nil
}

// validatePlan refuses values that mean something else to Helm: target 0 is the revision
// before the newest, timeout 0 is no limit.
func validatePlan(p rollback.Plan) error {
	switch {
	case p.Target < 1 || p.Target >= p.Suspect.Number:
		return fmt.Errorf("target %d is not older than revision %d", p.Target, p.Suspect.Number)
	case p.Newest.Number < p.Suspect.Number:
		return fmt.Errorf("revision %d cannot be the newest: it is older than the suspect revision %d", p.Newest.Number, p.Suspect.Number)
	case p.HookTimeout <= 0:
		return fmt.Errorf("a hook timeout of %s would let a hook hang forever", p.HookTimeout)
	}
	return checkFailed(p)
}

func (c *Client) guard(ctx context.Context, p rollback.Plan) (*guard, error) {
	storage, err := c.storageOf(ctx, p.Key)
	if err != nil {
		return nil, fmt.Errorf("roll %s back: %w", p.Key, err)
	}
	secrets := newClaimingSecrets(c.revisions(storage, p.Key.Namespace), p.Suspect.UID)
	return &guard{
		Driver: namedDriver{driver.NewSecrets(secrets), storage}, ctx: ctx, plan: p, stored: make(map[string]*release.Release), decoding: c.decoding,
		metas: func(ctx context.Context) ([]revisionMeta, error) { return c.revisionMetas(ctx, p.Key) },
		supersede: func(ctx context.Context, revision int) error {
			return c.supersede(ctx, p.Key, revision)
		},
	}, nil
}

// namedDriver is Helm's driver for Secrets, with the name of the kind that stores them.
type namedDriver struct {
	driver.Driver

	storage rollback.Storage
}

// Name returns the kind of the objects.
func (d namedDriver) Name() string { return d.storage.Kind() }

// prepare does in advance what could otherwise fail after Helm has written the new
// revision, which would then be left behind: it builds the objects of both sides, finds
// those that are not the release's own, and reads the autoscalers. If the rollback would
// have to write an object of others, it returns an error.
func (c *Client) prepare(g *guard, objects *kube.Client) (confinement, error) {
	k := g.plan.Key
	live, err := g.liveManifest()
	if err != nil {
		return confinement{}, err
	}
	var s sides
	if s.from, err = g.revision(g.plan.Suspect.Number); err != nil {
		return confinement{}, err
	}
	if s.to, err = g.revision(g.plan.Target); err != nil {
		return confinement{}, err
	}
	metas, err := g.metas(g.ctx)
	if err != nil {
		return confinement{}, err
	}
	status := make(map[int]rollback.Status)
	for _, m := range metas {
		status[m.number] = m.status
	}
	if s.unfinished, err = c.unfinished(g.ctx, g.plan, status); err != nil {
		return confinement{}, err
	}
	if err := c.buildSides(objects, k, live, &s); err != nil {
		return confinement{}, err
	}
	confined, err := c.confine(g.ctx, g.plan, s)
	if err == nil {
		err = confined.err()
	}
	if err != nil {
		return confinement{}, fmt.Errorf("roll %s back to revision %d: %w", k, g.plan.Target, err)
	}
	list := c.scalerLister(func(err error) {
		c.log.WarnContext(g.ctx, "rolling back without a look at the autoscalers", "namespace", k.Namespace, "release", k.Release, "error", err)
	})
	return confined, keepReplicas(g.ctx, confined.within(s.original), confined.within(s.target), list)
}
