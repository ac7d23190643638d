package engine_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/upcommerce/backout/rollback"
)

func (c *cluster) History(ctx context.Context, k rollback.Key, consistency rollback.Consistency) (rollback.History, error) {
	if consistency == rollback.Cached {
		return c.cachedHistory(k)
	}
	time.Sleep(c.readTime)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.storedReads++
	h, ok := c.history[k]
	if !ok {
		return nil, fmt.Errorf("%s: %w", k, rollback.ErrUnknownRelease)
	}
	return slices.Clone(h), nil
}

func (c *cluster) cachedHistory(k rollback.Key) (rollback.History, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cache != nil {
		return c.cache.cachedHistory(k)
	}
	if c.notCached {
		return nil, rollback.ErrNotCached
	}
	if len(c.history[k]) == 0 {
		return nil, rollback.ErrUnknownRelease
	}
	return slices.Clone(c.history[k]), nil
}

func (c *cluster) EnsureNewest(ctx context.Context, k rollback.Key, revision rollback.Revision) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if h := c.history[k]; len(h) == 0 || h[0].UID != revision.UID || h[0].Number != revision.Number || h[0].Status == rollback.StatusUninstalling {
		return rollback.ErrRevisionChanged
	}
	return nil
}

// Manifest has an object that names the revision.
func (c *cluster) Manifest(_ context.Context, _ rollback.Key, revision int) (rollback.Manifest, error) {
	return rollback.Manifest{{"revision": revision}}, nil
}

func (c *cluster) Ready(ctx context.Context, _ rollback.Key, _ int) (bool, string, error) {
	if err := ctx.Err(); err != nil {
		return false, "", err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.readyCalls++
	return c.ready, "waiting for the canary's pod", nil
}

func (c *cluster) ReadyStable(ctx context.Context, k rollback.Key, revision int) (bool, string, error) {
	if c.stableReady {
		return true, "", ctx.Err()
	}
	return c.Ready(ctx, k, revision)
}

func (c *cluster) Preflight(ctx context.Context, _ rollback.Plan) (rollback.PreflightResult, error) {
	if c.beforePreflight != nil {
		c.beforePreflight()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.preflights++
	if c.duringPreflight != nil {
		c.duringPreflight()
	}
	if err := nextError(&c.preflightErrors); err != nil {
		return rollback.PreflightResult{}, err
	}
	return c.preflightResult, ctx.Err()
}

// Differences returns c.differences.
func (c *cluster) Differences(ctx context.Context, _ rollback.Plan) ([]string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.differences, errors.Join(c.differencesError, ctx.Err())
}

func (c *cluster) RollBack(ctx context.Context, p rollback.Plan) (int, error) {
	time.Sleep(c.rollbackTime / 2)
	if c.duringRollback != nil {
		c.duringRollback()
	}
	c.mu.Lock()
	made, err := c.writeRollback(p)
	c.mu.Unlock()
	if err != nil {
		return 0, err
	}
	time.Sleep(c.rollbackTime / 2)
	return made, ctx.Err()
}

// writeRollback writes the new revision and its objects.
func (c *cluster) writeRollback(p rollback.Plan) (int, error) {
	if err := nextError(&c.rollbackErrors); err != nil {
		return 0, err
	}
	h := c.history[p.Key]
	if h.Newest().UID != p.Newest.UID {
		return 0, rollback.ErrRevisionChanged
	}
	target, _ := h.Named(p.Target)
	made := h.Newest().Number + 1
	revision := rollback.Revision{
		Number: made, UID: "uid-" + strconv.Itoa(made), Status: rollback.StatusDeployed, Deployed: time.Now(),
		Content: target.Content, Versions: target.Versions, Chart: target.Chart, Description: fmt.Sprintf("Rollback to %d", p.Target),
		Claim: p.Suspect.UID, Canary: target.Canary, Pods: target.Pods,
	}
	if c.interruptions > 0 {
		c.interruptions--
		revision.Status = rollback.StatusPendingRollback
		c.history[p.Key] = slices.Insert(h, 0, revision)
		return 0, cmp.Or(c.interruption, errAPIServer)
	}
	for i := range h {
		if h[i].Status == rollback.StatusDeployed {
			h[i].Status = rollback.StatusSuperseded
		}
	}
	c.history[p.Key] = slices.Insert(h, 0, revision)
	c.rollbacks++
	object := map[string]any{"weight": "20"}
	if p.Hold != nil {
		p.Hold(object)
	}
	c.setWeight(object["weight"].(string))
	return made, nil
}

func (c *cluster) Recover(ctx context.Context, k rollback.Key, pending rollback.Revision) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	h := c.history[k]
	if h[0].UID != pending.UID || !h[0].Status.Pending() {
		return rollback.ErrRevisionChanged
	}
	h[0].Status, h[0].Description = rollback.StatusFailed, "it was interrupted; marked as failed"
	c.recovered = append(c.recovered, h[0].Number)
	return ctx.Err()
}
