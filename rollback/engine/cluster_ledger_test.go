package engine_test

import (
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/rollbacktest"
)

func (c *cluster) Records(ctx context.Context, k rollback.Key, consistency rollback.Consistency) ([]rollback.Record, error) {
	if consistency == rollback.Cached {
		return c.cachedRecords(k)
	}
	if consistency == rollback.Recent && c.lagging {
		return nil, ctx.Err()
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := nextError(&c.recordErrors); err != nil {
		return nil, err
	}
	return c.copyRecords(k), nil
}

func (c *cluster) cachedRecords(k rollback.Key) ([]rollback.Record, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cache != nil {
		return c.cache.cachedRecords(k)
	}
	if c.notCached {
		return nil, rollback.ErrNotCached
	}
	return c.copyRecords(k), nil
}

// RecordsSince returns the stored records.
func (c *cluster) RecordsSince(ctx context.Context, saved rollback.Record) ([]rollback.Record, error) {
	return c.Records(ctx, saved.Key, rollback.Stored)
}

// Record fails as Records does.
func (c *cluster) Record(ctx context.Context, k rollback.Key, revision int) (rollback.Record, bool, error) {
	records, err := c.Records(ctx, k, rollback.Stored)
	i := slices.IndexFunc(records, func(r rollback.Record) bool { return r.Revision == revision })
	if err != nil || i < 0 {
		return rollback.Record{}, false, err
	}
	return records[i], true, nil
}

// copyRecords returns records that share nothing with the stored ones; mu is locked.
func (c *cluster) copyRecords(k rollback.Key) []rollback.Record {
	all := slices.Clone(c.records[k])
	for i := range all {
		r := &all[i]
		r.Signals, r.Decisions = slices.Clone(r.Signals), slices.Clone(r.Decisions)
		for _, step := range []**rollback.Step{&r.Shed, &r.Rollback, &r.Restore, &r.Verify} {
			if *step != nil {
				s := **step
				*step = &s
			}
		}
		if r.Hold != nil {
			h := *r.Hold
			r.Hold = &h
		}
	}
	return all
}

func (c *cluster) Open(context.Context) ([]rollback.Key, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var keys []rollback.Key
	for k, records := range c.records {
		if slices.ContainsFunc(records, func(r rollback.Record) bool { return r.Closed.IsZero() }) {
			keys = append(keys, k)
		}
	}
	return keys, c.openError
}

func (c *cluster) Save(ctx context.Context, r rollback.Record) (rollback.Record, error) {
	time.Sleep(c.saveTime)
	if err := ctx.Err(); err != nil {
		return r, err
	}
	r, err := c.saveNow(r)
	if err == nil && c.saved != nil {
		c.saved(r.Clone())
	}
	return r, err
}

func (c *cluster) saveNow(r rollback.Record) (rollback.Record, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := nextError(&c.saveErrors); err != nil {
		return r, err
	}
	records := c.records[r.Key]
	i := slices.IndexFunc(records, func(o rollback.Record) bool { return o.Revision == r.Revision })
	if i < 0 && r.Version != "" || i >= 0 && records[i].Version != r.Version {
		return r, rollback.ErrConflict
	}
	c.versions++
	r.Version = strconv.Itoa(c.versions)
	if i < 0 {
		c.records[r.Key] = append(records, r)
	} else {
		records[i] = r
	}
	return r, nil
}

func (c *cluster) Delete(_ context.Context, r rollback.Record) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.records[r.Key] = slices.DeleteFunc(c.records[r.Key], func(o rollback.Record) bool { return o.UID == r.UID })
	return nil
}

func (c *cluster) Paused(ctx context.Context, _ rollback.Key) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := nextError(&c.pauseErrors); err != nil {
		return "", err
	}
	return c.paused, ctx.Err()
}

// record returns the stored record of a revision, and whether there is one.
func (c *cluster) record(k rollback.Key, revision int) (rollback.Record, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range c.copyRecords(k) {
		if r.Revision == revision {
			return r, true
		}
	}
	return rollback.Record{}, false
}

// shopRecord returns the stored record of a revision of the demo's release, or an empty
// one.
func (c *cluster) shopRecord(revision int) rollback.Record {
	r, _ := c.record(rollbacktest.Shop(), revision)
	return r
}
