package engine

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/parallel"
)

// leftovers compares the marks on routes with the open records, release by release: a weight
// that a shed has set to zero has to have a record that is going to end that. The leader does
// it at each sweep, on what the gauge of weights has read. It is safe for concurrent use.
type leftovers struct {
	mu sync.Mutex
	// guarded are the opted-in releases of each namespace, as they were read last.
	guarded map[string][]rollback.GuardedRelease
	// found are the releases whose record has a leftover. searched are the namespaces in which
	// this process has looked for those that an earlier leader has found.
	found    map[rollback.Key]bool
	searched map[string]bool
}

// leftoverAfter is how long after the end of a record a zero is a leftover: an operator's
// command closes the record first.
const leftoverAfter = 30 * time.Second

// OnReleases takes the opted-in releases of a namespace with their live routes, whenever they
// were read. It never blocks.
func (e *Engine) OnReleases(namespace string, releases []rollback.GuardedRelease) {
	l := &e.leftovers
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.guarded == nil {
		l.guarded, l.searched = make(map[string][]rollback.GuardedRelease), make(map[string]bool)
	}
	l.guarded[namespace] = releases
}

// all returns the releases that were read, and of which namespaces this is the first search.
func (l *leftovers) all() (all []rollback.GuardedRelease, first map[string]bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	first = make(map[string]bool)
	for namespace, some := range l.guarded {
		all = append(all, some...)
		first[namespace], l.searched[namespace] = !l.searched[namespace], true
	}
	return all, first
}

func (l *leftovers) mark(k rollback.Key) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.found == nil {
		l.found = make(map[rollback.Key]bool)
	}
	l.found[k] = true
}

func (l *leftovers) unmark(k rollback.Key) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.found, k)
}

func (l *leftovers) has(k rollback.Key) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.found[k]
}

// compare looks for leftovers, and for those that are gone. It sends requests about releases
// alone that have a marked zero or had a leftover.
func (l *leftovers) compare(ctx context.Context, e *executor) {
	all, first := l.all()
	for _, g := range all {
		routes := g.HeldRoutes()
		if first[g.Namespace] && len(routes) == 0 {
			records, err := e.ledger.Records(ctx, g.Key, rollback.Cached)
			if err == nil && slices.ContainsFunc(records, func(r rollback.Record) bool { return r.HasLeftover() }) {
				l.mark(g.Key)
			}
		}
		if len(routes) == 0 && !l.has(g.Key) {
			continue
		}
		// It begins with no record: a panic is about this release alone.
		err := parallel.Catch(func() error { return l.compareRelease(ctx, e, g, sharers(all, g)) })
		if err != nil && ctx.Err() == nil {
			e.log.ErrorContext(ctx, "marks of a release not compared with its records; trying again",
				"namespace", g.Namespace, "release", g.Release, "error", err)
		}
	}
}

// sharers returns the releases whose held routes are those of g as well: one release may declare
// a route to the pods of another, whose record then accounts for the zero.
func sharers(all []rollback.GuardedRelease, g rollback.GuardedRelease) []rollback.Key {
	var keys []rollback.Key
	for _, other := range all {
		shared := func(route string) bool { return slices.Contains(g.HeldRoutes(), route) }
		if other.Namespace == g.Namespace && slices.ContainsFunc(other.HeldRoutes(), shared) {
			keys = append(keys, other.Key)
		}
	}
	return keys
}

// compareRelease compares one release with its records and those of its sharers. The weights of
// the gauge may be outdated: the routes are read again before a leftover is stored, and the
// records after them.
func (l *leftovers) compareRelease(ctx context.Context, e *executor, g rollback.GuardedRelease, sharers []rollback.Key) error {
	routes := g.HeldRoutes()
	left := len(routes) > 0
	if left {
		accounted, err := e.accounted(ctx, sharers)
		if err != nil {
			return err
		}
		left = !accounted
	}
	if left {
		var err error
		if left, err = e.confirmLeftover(ctx, g.Key); err != nil {
			return err
		}
	}
	if left {
		accounted, err := e.accounted(ctx, sharers)
		if err != nil {
			return err
		}
		left = !accounted
	}
	records, err := e.ledger.Records(ctx, g.Key, rollback.Stored)
	if err != nil {
		return err
	}
	if !left {
		if err := e.endLeftover(ctx, records); err != nil {
			return err
		}
		l.unmark(g.Key)
		return nil
	}
	if err := e.storeLeftover(ctx, g.Key, records, routes); err != nil {
		return err
	}
	l.mark(g.Key)
	return nil
}

// accounted reports whether an open record of one of the releases accounts for a zero.
func (e *executor) accounted(ctx context.Context, keys []rollback.Key) (bool, error) {
	for _, k := range keys {
		records, err := e.ledger.Records(ctx, k, rollback.Stored)
		if err != nil || accountFor(records) {
			return err == nil, err
		}
	}
	return false, nil
}

// accountFor reports whether a record accounts for a zero, or did a moment ago.
func accountFor(records []rollback.Record) bool {
	return slices.ContainsFunc(records, func(r rollback.Record) bool {
		return r.AccountsForZero() || !r.Closed.IsZero() && time.Since(r.Closed) < leftoverAfter
	})
}

// confirmLeftover reads the release's live routes: one has to be at zero and marked.
func (e *executor) confirmLeftover(ctx context.Context, k rollback.Key) (bool, error) {
	history, err := e.releases.History(ctx, k, rollback.Stored)
	if errors.Is(err, rollback.ErrUnknownRelease) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	manifest, err := e.releases.Manifest(ctx, k, history.Newest().Number)
	if err != nil {
		return false, err
	}
	routing, err := e.traffic.Observe(ctx, k, manifest, rollback.Stored)
	if err != nil || !slices.ContainsFunc(routing.Weights, func(w rollback.Weight) bool { return w.To == "0" }) {
		return false, err
	}
	return e.traffic.Held(ctx, k, manifest)
}

// endLeftover stores in the record that has a leftover that there is no longer one.
func (e *executor) endLeftover(ctx context.Context, records []rollback.Record) error {
	i := slices.IndexFunc(records, func(r rollback.Record) bool { return r.HasLeftover() })
	if i < 0 {
		return nil
	}
	_, err := e.update(ctx, records[i], func(r *rollback.Record) bool {
		if !r.HasLeftover() {
			return false
		}
		r.Leftover.Done = time.Now().UTC()
		return true
	})
	return err
}

// storeLeftover stores in the newest record of the release that there is a leftover, unless one
// has it already. Without any record it makes one about the newest revision.
func (e *executor) storeLeftover(ctx context.Context, k rollback.Key, records []rollback.Record, routes []string) error {
	if slices.ContainsFunc(records, func(r rollback.Record) bool { return r.HasLeftover() }) {
		return nil
	}
	found := &rollback.Step{Started: time.Now().UTC(), Attempts: 1, Error: rollback.Clip("the weight is zero on "+strings.Join(routes, ", "), rollback.MaxSummary)}
	e.log.WarnContext(ctx, "a weight is held at zero that no record accounts for", "namespace", k.Namespace, "release", k.Release, "reason", found.Error)
	for _, r := range slices.Backward(records) {
		if !r.Unsigned {
			_, err := e.update(ctx, r, func(r *rollback.Record) bool {
				r.Leftover, r.StrayRoutes = found, nil
				return true
			})
			return err
		}
	}
	return e.recordLeftover(ctx, k, records, found)
}

// recordLeftover makes a record that has nothing but the leftover and a decision to do nothing.
func (e *executor) recordLeftover(ctx context.Context, k rollback.Key, records []rollback.Record, found *rollback.Step) error {
	history, err := e.releases.History(ctx, k, rollback.Stored)
	if err != nil {
		return err
	}
	newest := history.Newest()
	r, known := rollback.FindRecord(records, newest)
	if !known {
		r = rollback.NewRecord(k, newest, records, found.Started)
	}
	r.Adopt(newest, found.Started)
	r.Decide(rollback.Decision{
		Verdict: rollback.Handled, At: found.Started,
		Reason: "no alert: the canary's weight was found at zero, and no record says why",
	})
	r.Leftover, r.Closed = found, found.Started
	_, err = e.ledger.Save(ctx, r)
	return err
}
