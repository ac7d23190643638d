package helm

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"helm.sh/helm/v3/pkg/kube"
	"helm.sh/helm/v3/pkg/storage/driver"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/upcommerce/backout/rollback"
)

// Check looks ahead at the planned rollback and returns what would be dangerous
// about it, and who else manages the objects. It has the API server try out
// every write, which changes nothing and needs the same rights as the rollback;
// the fence lets these requests pass.
//
// The stable track is what is beside the canary, which the track label tells, or
// the name where no pod has that label. An owner is who the objects themselves
// name, live or declared, and Flagger or Argo Rollouts where they are in the
// namespace: where their kinds are served, backout has to be allowed to list them,
// or there is an error that says what to grant.
//
// What cannot be asked right now is an error; what the API server refuses is a
// danger. Without both manifests built nothing is tried out, and only the
// dangers that the manifests tell of are returned beside that.
func (c *Client) Check(ctx context.Context, p rollback.Plan) (rollback.Outlook, error) {
	history, err := c.History(ctx, p.Key)
	if err != nil {
		return rollback.Outlook{}, err
	}
	t, err := c.trial(ctx, p)
	if err != nil {
		return rollback.Outlook{}, err
	}
	t.add(hookDangers(history, p)...)
	t.add(stableDangers(p.Key, t.was, t.will)...)
	t.add(secretDangers(p.Key, t.was, t.will)...)
	if t.buildable() {
		if err := t.run(ctx); err != nil {
			return rollback.Outlook{}, fmt.Errorf("try out the rollback of %s to revision %d: %w", p.Key, p.Target, err)
		}
	}
	t.add(replicasDangers(p.Key, t.will, t.live)...)
	others, err := c.canaries(ctx, p.Key.Namespace)
	if err != nil {
		return rollback.Outlook{}, err
	}
	live := slices.Collect(maps.Values(t.live))
	return rollback.Outlook{
		Dangers: bounded(t.dangers),
		Owner:   ownerOf(p.Key, p.Target, slices.Concat(live, t.was, others)),
	}, nil
}

// trial reads and builds both sides of the planned rollback.
func (c *Client) trial(ctx context.Context, p rollback.Plan) (*trial, error) {
	t := &trial{client: c, plan: p, live: make(map[string]rollback.Object)}
	for _, side := range []struct {
		number   int
		declared *rollback.Manifest
		built    *kube.ResourceList
	}{{p.Accused.Number, &t.was, &t.original}, {p.Target, &t.will, &t.target}} {
		stored, err := read(c.store(p.Key.Namespace), secretName(p.Key.Release, side.number))
		if errors.Is(err, errCorrupt) || errors.Is(err, driver.ErrReleaseNotFound) {
			t.unbuildable(fmt.Sprintf("revision %d cannot be read: %s", side.number, words(err)))
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read revision %d of %s: %w", side.number, p.Key, err)
		}
		if *side.declared, err = objects(stored.Manifest); err != nil {
			t.unbuildable(fmt.Sprintf("the manifest of revision %d cannot be decoded: %s", side.number, words(err)))
			continue
		}
		helm := c.kube(ctx, p.Key.Namespace)
		if *side.built, err = c.build(helm, stored.Manifest); err == nil {
			continue
		}
		if away := helm.IsReachable(); away != nil {
			return nil, fmt.Errorf("build the objects of %s revision %d: %w", p.Key, side.number, away)
		}
		t.unbuildable(fmt.Sprintf("the objects of revision %d cannot be built: %s", side.number, words(err)))
	}
	return t, nil
}

// refusal says whether err is the API server's no to a change that was tried
// out, and what kind of danger that is. It is no refusal if it could not be
// asked, or if it may say something else next time.
func refusal(err error) (rollback.DangerKind, bool) {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return "", false
	}
	switch code := status.Status().Code; {
	case apierrors.IsInvalid(err):
		return rollback.DangerImmutable, true
	case apierrors.IsUnauthorized(err), apierrors.IsTimeout(err), apierrors.IsTooManyRequests(err),
		apierrors.IsConflict(err), apierrors.IsAlreadyExists(err):
		return "", false
	default:
		return rollback.DangerUnbuildable, code >= 400 && code < 500
	}
}
