package helm

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"helm.sh/helm/v3/pkg/kube"
	"helm.sh/helm/v3/pkg/release"
	"helm.sh/helm/v3/pkg/storage/driver"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/overload"
)

// Preflight returns what would be dangerous about the planned rollback, and which other
// tool manages the objects. It sends every write to the API server as a dry run, which
// changes nothing and needs the same rights as the rollback; the fence lets these
// requests pass.
//
// The stable track is all workloads but the canary, which rollback.Manifest recognizes.
// The owner is the tool that the objects name, live or declared, or Flagger or Argo
// Rollouts if their objects in the namespace control a workload of the release. Where
// these or the autoscalers cannot be listed, the result's note says what to grant.
//
// Preflight returns an error if the API server does not answer or may answer something
// else later, as a *rollback.OverloadedError if it did not take a request on; a refusal is a
// danger. If one of the manifests cannot be built, there is
// no dry run, and besides that Preflight returns only the dangers that the manifests
// show.
func (c *Client) Preflight(ctx context.Context, p rollback.Plan) (result rollback.PreflightResult, err error) {
	err = c.again(func() (err error) {
		result, err = c.preflight(ctx, p)
		return err
	})
	return result, overload.Of(err)
}

func (c *Client) preflight(ctx context.Context, p rollback.Plan) (rollback.PreflightResult, error) {
	history, err := c.History(ctx, p.Key, rollback.Stored)
	if err != nil {
		return rollback.PreflightResult{}, err
	}
	t, err := c.newDryRun(ctx, p)
	if err != nil {
		return rollback.PreflightResult{}, err
	}
	defer t.end()
	status := make(map[int]rollback.Status)
	for _, r := range history {
		status[r.Number] = r.Status
	}
	if t.unfinished, err = c.unfinished(ctx, p, status); err != nil {
		return rollback.PreflightResult{}, err
	}
	t.addDangers(hookDangers(history, p)...)
	t.addDangers(stableDangers(c.track, p.Key, t.suspect, t.target)...)
	t.addDangers(secretDangers(p.Key, t.suspect, t.target)...)
	if t.buildable() {
		t.addDangers(t.podsDangers(ctx)...)
		t.checkStorage(ctx, history.Newest().Storage)
		if err := t.run(ctx); err != nil {
			return rollback.PreflightResult{}, fmt.Errorf("dry-run the rollback of %s to revision %d: %w", p.Key, p.Target, err)
		}
	}
	t.addDangers(replicasDangers(p.Key, t.target, t.live)...)
	others, note := c.weightSettersBriefly(ctx, p.Key.Namespace)
	if note != "" {
		t.unread = append(t.unread, note)
	}
	slices.Sort(t.differences)
	live := slices.Collect(maps.Values(t.live))
	return rollback.PreflightResult{
		Dangers: limitDangers(t.dangers),
		Owner:   rollback.ReleaseOwner(p.Key, p.Target, slices.Concat(live, t.suspect, others)),
		Note:    strings.Join(t.unread, "; "),

		Differences: t.differences,
	}, nil
}

// newDryRun reads and builds the suspect and the target revision of the plan. The caller
// calls the result's end.
func (c *Client) newDryRun(ctx context.Context, p rollback.Plan) (*dryRun, error) {
	t := &dryRun{client: c, plan: p, live: make(map[string]rollback.Object), end: func() {}}
	if err := t.build(ctx); err != nil {
		t.end()
		return nil, err
	}
	return t, nil
}

// build reads and builds both revisions. If one is large, or there are failed upgrades whose
// sum may be, it waits for its turn.
func (t *dryRun) build(ctx context.Context) error {
	c, p, waited := t.client, t.plan, len(t.plan.Failed) > 0
	if waited {
		end, err := c.large.begin(ctx)
		if err != nil {
			return err
		}
		t.end = end
	}
	if err := checkFailed(p); err != nil {
		t.addUnbuildable(err.Error())
	}
	sides := []struct {
		number   int
		stored   *release.Release
		declared *rollback.Manifest
		built    *kube.ResourceList
	}{{p.Suspect.Number, nil, &t.suspect, &t.suspectObjects}, {p.Target, nil, &t.target, &t.targetObjects}}
	for i, side := range sides {
		stored, err := c.readSide(ctx, p, side.number)
		if err == nil && !waited && isLarge(stored) {
			end, waitErr := c.large.begin(ctx)
			if waitErr != nil {
				return waitErr
			}
			t.end, waited = end, true
			stored, err = c.readSide(ctx, p, side.number) // nothing is kept while it waits
		}
		if errors.Is(err, errCorrupt) || errors.Is(err, driver.ErrReleaseNotFound) {
			t.addUnbuildable(fmt.Sprintf("revision %d cannot be read: %s", side.number, errorText(err)))
			continue
		}
		if err != nil {
			return fmt.Errorf("read revision %d of %s: %w", side.number, p.Key, err)
		}
		if *side.declared, err = decodeManifest(stored.Manifest); err != nil {
			t.addUnbuildable(fmt.Sprintf("the manifest of revision %d cannot be decoded: %s", side.number, errorText(err)))
			continue
		}
		sides[i].stored = stored
	}
	for _, side := range sides {
		if side.stored == nil {
			continue
		}
		if err := t.buildSide(ctx, side.number, side.stored, side.built); err != nil {
			return err
		}
	}
	return nil
}

// readSide reads the suspect or the target revision of the plan. The suspect's manifest gets
// the objects that only the failed upgrades of other clients declare: they may be live, and the
// rollback deletes them.
func (c *Client) readSide(ctx context.Context, p rollback.Plan, number int) (*release.Release, error) {
	storage, err := c.storageOf(ctx, p.Key)
	if err != nil {
		return nil, err
	}
	from := c.store(storage, p.Key.Namespace)
	stored, err := read(ctx, from, objectName(p.Key.Release, number), c.decoding)
	if err != nil || number != p.Suspect.Number || len(p.Failed) == 0 {
		return stored, err
	}
	stored.Manifest, err = manifestWithFailed(ctx, p, stored, c.decoding, func(number int) (*release.Release, error) {
		return read(ctx, from, objectName(p.Key.Release, number), c.decoding)
	})
	return stored, err
}
