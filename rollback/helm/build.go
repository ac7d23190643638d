package helm

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"helm.sh/helm/v3/pkg/kube"
	"helm.sh/helm/v3/pkg/release"

	"github.com/upcommerce/backout/rollback"
)

// build converts a manifest to the objects that Helm writes. The API may have been
// extended since the mapper read it: if a kind is unknown, build reads it again.
func (c *Client) build(objects *kube.Client, manifest string) (kube.ResourceList, error) {
	built, err := objects.Build(strings.NewReader(manifest), false)
	if err != nil {
		c.mapper.Reset()
		built, err = objects.Build(strings.NewReader(manifest), false)
	}
	return built, err
}

// buildSides builds the objects of both sides, and the hooks of the target. live is the
// manifest of everything that may be live.
func (c *Client) buildSides(objects *kube.Client, k rollback.Key, live string, s *sides) error {
	err := c.buildBoth(objects, k, live, s)
	if err == nil {
		return nil
	}
	d := declarations{unfinished: s.unfinished}
	for _, m := range []struct {
		text     string
		declared *rollback.Manifest
	}{{s.from.Manifest, &d.suspect}, {live, &d.original}, {s.to.Manifest, &d.target}} {
		var decodeErr error
		if *m.declared, decodeErr = decodeManifest(m.text); decodeErr != nil {
			return err
		}
	}
	var refused error
	if s.unserved, refused = c.unserved(k, d); refused != nil {
		return fmt.Errorf("build the objects of %s: %w", k, refused)
	}
	if len(s.unserved) == 0 {
		return err
	}
	return c.buildBoth(objects, k, live, s)
}

// buildBoth is buildSides that leaves s.unserved out.
func (c *Client) buildBoth(objects *kube.Client, k rollback.Key, live string, s *sides) (err error) {
	if s.original, err = c.buildWithout(objects, live, s.unserved); err != nil {
		return fmt.Errorf("build the objects of %s revision %d: %w", k, s.from.Version, err)
	}
	if s.target, err = c.buildWithout(objects, s.to.Manifest, s.unserved); err == nil {
		s.hooks, err = c.rollbackHooks(objects, s.to)
	}
	if err != nil {
		return fmt.Errorf("build the objects of %s revision %d: %w", k, s.to.Version, err)
	}
	return nil
}

// buildSide builds the objects of one of the two revisions. It returns an error if the API
// server does not answer.
func (t *dryRun) buildSide(ctx context.Context, number int, stored *release.Release, built *kube.ResourceList) (err error) {
	c, p := t.client, t.plan
	helm := c.kube(ctx, p.Key.Namespace, new(overloads))
	*built, err = c.buildWithout(helm, stored.Manifest, t.unserved)
	if err != nil && t.unserved == nil {
		found, why := t.findUnserved(ctx)
		switch {
		case errors.Is(why, errUnserved):
			if !t.needsUnserved {
				t.addUnbuildable(fmt.Sprintf("the objects of revision %d cannot be built: %s", number, errorText(why)))
			}
			t.needsUnserved = true
			return nil
		case why != nil:
			return fmt.Errorf("build the objects of %s revision %d: %w", p.Key, number, why)
		case len(found) > 0:
			t.unserved = found
			*built, err = c.buildWithout(helm, stored.Manifest, found)
		}
	}
	if err == nil && number == p.Target {
		t.targetRevision = stored
		t.hooks, err = c.rollbackHooks(helm, stored)
	} else if err == nil {
		t.suspectRevision = stored
	}
	if err == nil {
		return nil
	}
	if away := helm.IsReachable(); away != nil {
		return fmt.Errorf("build the objects of %s revision %d: %w", p.Key, number, away)
	}
	t.addUnbuildable(fmt.Sprintf("the objects of revision %d cannot be built: %s", number, errorText(err)))
	return nil
}

// findUnserved returns the objects of kinds that are not served, and notes that they stay. It
// returns none if one revision could not be read, and errUnserved if the rollback needs such an
// object.
func (t *dryRun) findUnserved(ctx context.Context) (unserved, error) {
	if t.suspect == nil || t.target == nil {
		return unserved{}, nil
	}
	left, err := t.client.unfinishedOf(ctx, t.plan)
	if err != nil {
		return nil, err
	}
	found, err := t.client.unserved(t.plan.Key, declarations{suspect: t.suspect, original: t.suspect, target: t.target, unfinished: left})
	for _, text := range found.differences(t.plan.Key) {
		t.note(text)
	}
	return found, err
}
