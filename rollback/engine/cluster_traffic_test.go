package engine_test

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/rollbacktest"
)

// observation is one of the release's routes.
type observation struct{ key rollback.Key }

func (o observation) Release() rollback.Key { return o.key }

// routed reports whether a live route leads to the canary of the manifest's revision: all do,
// but of a promoted canary only those of its own revision. mu is locked.
func (c *cluster) routed(m rollback.Manifest) bool {
	if !c.promoted || len(m) == 0 {
		return true
	}
	own := slices.ContainsFunc(c.history[rollbacktest.Shop()], func(r rollback.Revision) bool {
		return r.Number == m[0]["revision"] && r.Canary != ""
	})
	return own && c.weight != ""
}

func (c *cluster) Observe(ctx context.Context, k rollback.Key, m rollback.Manifest, _ rollback.Consistency) (rollback.Routing, error) {
	time.Sleep(c.observeTime)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.observations++
	routing := c.routing
	if routing.Load == 0 {
		routing.Load = 1
	}
	routing.Observation = observation{k}
	if !c.routed(m) {
		return routing, ctx.Err()
	}
	routing.Weights = []rollback.Weight{{Kind: "Ingress", Name: "shop-canary", From: c.weight, To: c.weight}}
	routing.Writers = []string{c.writer}
	if c.noRoute {
		routing.Weights, routing.Writers = nil, nil
	}
	return routing, ctx.Err()
}

func (c *cluster) Shed(ctx context.Context, _ rollback.Key, m rollback.Manifest, _ rollback.Observation, p rollback.Precondition) ([]rollback.Weight, error) {
	if c.beforeShed != nil {
		c.beforeShed()
	}
	if err := check(ctx, p); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.routed(m) {
		return nil, nil
	}
	if err := nextError(&c.shedErrors); err != nil {
		return nil, err
	}
	c.unmarked = false
	w := rollback.Weight{Kind: "Ingress", Name: "shop-canary", From: c.weight, To: "0"}
	if c.weight != "0" {
		c.setWeight("0")
	}
	if c.afterShed != nil {
		c.afterShed()
		c.afterShed = nil
	}
	return []rollback.Weight{w}, nil
}

func (c *cluster) Hold(ctx context.Context, _ rollback.Key, _ rollback.Manifest) (func(rollback.Object), error) {
	return setToZero, ctx.Err()
}

// HoldTarget returns c.holdTargetErrors, one each.
func (c *cluster) HoldTarget(ctx context.Context, _ rollback.Key, _ rollback.Manifest) (func(rollback.Object), error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := nextError(&c.holdTargetErrors); err != nil {
		return nil, err
	}
	return setToZero, ctx.Err()
}

func setToZero(object rollback.Object) { object["weight"] = "0" }

func (c *cluster) Restore(ctx context.Context, _ rollback.Key, _ rollback.Manifest, p rollback.Precondition) ([]rollback.Weight, error) {
	if c.beforeRestore != nil {
		c.beforeRestore()
	}
	if err := check(ctx, p); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := nextError(&c.restoreErrors); err != nil {
		return nil, err
	}
	c.setWeight("20")
	return []rollback.Weight{{Kind: "Ingress", Name: "shop-canary", From: "0", To: "20"}}, nil
}

func (c *cluster) RestoreHeld(ctx context.Context, k rollback.Key, m rollback.Manifest, p rollback.Precondition) ([]rollback.Weight, error) {
	if held, err := c.Held(ctx, k, m); err != nil || !held {
		return nil, err
	}
	return c.Restore(ctx, k, m, p)
}

// Watch sees what is written from then on, if the cluster is watchable.
func (c *cluster) Watch(ctx context.Context, _, kind string, changed func()) func() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.oneKind && kind != "Ingress" {
		return nil
	}
	c.watchesBegun++
	c.watchers = append(c.watchers, func() {
		if c.watchable && ctx.Err() == nil {
			go changed()
		}
	})
	return func() bool { return c.watchable }
}

func (c *cluster) Unmark(ctx context.Context, _ rollback.Key, _ rollback.Manifest) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.unmarked = c.unmarked || c.weight != "0"
	return ctx.Err()
}

func (c *cluster) Held(ctx context.Context, _ rollback.Key, _ rollback.Manifest) (bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.unmarked, ctx.Err()
}

// setWeight writes the canary's weight; mu is locked.
func (c *cluster) setWeight(weight string) {
	c.weight = weight
	c.weightsWritten = append(c.weightsWritten, weight)
	for _, changed := range c.watchers {
		changed()
	}
}

// check checks the precondition, which may be nil.
func check(ctx context.Context, p rollback.Precondition) error {
	if p == nil {
		return ctx.Err()
	}
	return errors.Join(p(ctx), ctx.Err())
}
