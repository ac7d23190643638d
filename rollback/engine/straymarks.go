package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/parallel"
)

// maxStrayRoutes bounds the routes that a record names.
const maxStrayRoutes = 10

// strayLimit bounds one comparison: other clients write what it reads.
const strayLimit = stepTimeout / 3

// compare looks for stray marks, and for those that are gone. It sends no request about a
// namespace without one, and without a leftover.
func (m *strayMarks) compare(ctx context.Context, e *executor) {
	ctx, cancel := context.WithTimeout(ctx, strayLimit)
	defer cancel()
	for namespace, now := range m.now() {
		sheds, found := m.candidates(namespace)
		owners, known := e.lastSheds(ctx, sheds, now.due)
		if !known {
			continue // an open record may be among those that could not be read
		}
		for _, route := range owners[rollback.Key{}] {
			if m.logOnce(namespace, route) {
				k := rollback.Key{Namespace: namespace}
				e.log.WarnContext(ctx, "a route has the mark of a shed, and no record knows it; look at its weights, and remove the mark",
					"namespace", namespace, "reason", fmt.Sprintf("%s; %s", rollback.WithoutGroup(route), k.UnmarkRouteCommand(route)))
			}
		}
		delete(owners, rollback.Key{})
		for _, k := range found {
			if _, known := owners[k]; !known {
				owners[k] = nil
			}
		}
		for k, due := range owners {
			err := parallel.Catch(func() error { return m.compareRelease(ctx, e, k, marks{now.all, due}) })
			if err != nil && ctx.Err() == nil {
				e.log.ErrorContext(ctx, "marks of a release not compared with its records; trying again", "namespace", k.Namespace, "release", k.Release, "error", err)
			}
		}
	}
}

// lastSheds returns the routes by the release that has shed a canary on them last; the zero key has
// those of which no record knows. known is false if some records could not be read.
func (e *executor) lastSheds(ctx context.Context, keys []rollback.Key, routes []string) (all map[rollback.Key][]string, known bool) {
	all = make(map[rollback.Key][]string)
	if len(routes) == 0 {
		return all, true
	}
	last := make(map[string]rollback.Record)
	for _, k := range keys {
		records, err := e.ledger.Records(ctx, k, rollback.Cached)
		if errors.Is(err, rollback.ErrNotCached) {
			records, err = e.ledger.Records(ctx, k, rollback.Stored)
		}
		if err != nil {
			e.logAndRetry(ctx, k, "find the release of a marked route", err)
			return nil, false
		}
		for _, r := range records {
			for _, w := range r.Weights {
				if r.Opened.After(last[w.Route()].Opened) {
					last[w.Route()] = r
				}
			}
		}
	}
	for _, route := range routes {
		k := last[rollback.WithoutGroup(route)].Key
		all[k] = append(all[k], route)
	}
	return all, true
}

// compareRelease stores in a record of a release that is gone which of its routes are marked, and
// that none is any more.
func (m *strayMarks) compareRelease(ctx context.Context, e *executor, k rollback.Key, now marks) error {
	records, err := e.ledger.Records(ctx, k, rollback.Stored)
	if err != nil {
		return err
	}
	gone, err := e.isGone(ctx, k)
	if err != nil {
		return err
	}
	left := slices.IndexFunc(records, func(r rollback.Record) bool { return r.HasLeftover() })
	stray := left >= 0 && records[left].HasStrayRoutes()
	marked := func(route string) bool { return slices.Contains(now.all, route) }
	switch {
	case left >= 0 && (gone && stray && !slices.ContainsFunc(records[left].StrayRoutes, marked) || gone && !stray && len(now.due) == 0 || !gone && stray):
		return e.endLeftover(ctx, records)
	case left < 0 && len(now.due) == 0:
		m.ended(k)
		return nil
	case !gone || stray || !e.policy.Allows(k) || accountFor(records):
		return nil
	}
	return e.storeStray(ctx, records, now.due[:min(len(now.due), maxStrayRoutes)])
}

// isGone reports whether the release does not exist any more.
func (e *executor) isGone(ctx context.Context, k rollback.Key) (bool, error) {
	history, err := e.releases.History(ctx, k, rollback.Stored)
	if errors.Is(err, rollback.ErrUnknownRelease) {
		return true, nil
	}
	return err == nil && history.Newest().Status == rollback.StatusUninstalled, err
}

// storeStray stores the routes in the record that has a leftover already, or else in the newest one
// with a weight.
func (e *executor) storeStray(ctx context.Context, records []rollback.Record, routes []string) error {
	i := slices.IndexFunc(records, func(r rollback.Record) bool { return r.HasLeftover() })
	for n := range records {
		if i < 0 || !records[i].HasLeftover() && len(records[n].Weights) > 0 {
			i = n
		}
	}
	if i < 0 {
		return nil
	}
	names := make([]string, len(routes))
	for n, route := range routes {
		names[n] = rollback.WithoutGroup(route)
	}
	text := rollback.Clip(strings.Join(names, ", ")+": marked by a shed, and the release is gone", rollback.MaxSummary)
	e.log.WarnContext(ctx, "a route has the mark of a shed, and its release is gone", "namespace", records[i].Namespace, "release", records[i].Release, "reason", text)
	_, err := e.update(ctx, records[i], func(r *rollback.Record) bool {
		if r.HasStrayRoutes() {
			return false
		}
		r.Leftover, r.StrayRoutes = &rollback.Step{Started: time.Now().UTC(), Attempts: 1, Error: text}, routes
		return true
	})
	return err
}
