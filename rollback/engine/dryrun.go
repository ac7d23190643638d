package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/upcommerce/backout/rollback"
)

// DryRun returns what Accept and the steps after it would do about the alerts of one
// webhook, and does nothing: it reads the same, asks Prometheus the same, runs the same
// preflight and decides with the same Decide. There is one result for each release, and
// one for each alert that would be refused. The cluster may change before real alerts
// arrive.
func (e *Engine) DryRun(ctx context.Context, alerts []rollback.Alert) ([]rollback.DryRunResult, error) {
	now := time.Now().UTC()
	var all []rollback.DryRunResult
	var keys []rollback.Key
	signals := make(map[rollback.Key][]rollback.Signal)
	for _, alert := range alerts {
		k, s, err := e.readAlert(alert, now)
		if _, why := e.policy.Refuse(alert, k, err); why != "" {
			all = append(all, refused(k, rollback.NotAllowed, cmp.Or(alert.NotAboutARelease(), why)))
			continue
		}
		if len(signals[k]) == 0 {
			keys = append(keys, k)
		}
		signals[k] = append(signals[k], s)
	}
	var batches []batch
	for _, k := range keys {
		b, err := e.read(ctx, k, rollback.Stored)
		switch {
		case errors.Is(err, rollback.ErrUnknownRelease), errors.Is(err, rollback.ErrTwoStorages):
			all = append(all, refused(k, rollback.UnknownRelease, err.Error()))
			continue
		case err != nil:
			return all, err
		}
		b.signals = signals[k]
		e.countForStorm(b)
		batches = append(batches, b)
	}
	for _, b := range batches {
		result, err := e.dryRun(ctx, b, now)
		if err != nil {
			return all, err
		}
		all = append(all, result)
	}
	return all, nil
}

// refused is the result for alerts that lead to no record.
func refused(k rollback.Key, v rollback.Verdict, why string) rollback.DryRunResult {
	result := rollback.DryRunResult{Record: rollback.Record{Key: k}}
	result.Record.Decide(rollback.Decision{Verdict: v, Reason: why})
	return result
}

// dryRun is DryRun for one release.
func (e *executor) dryRun(ctx context.Context, b batch, now time.Time) (rollback.DryRunResult, error) {
	b = b.atSuspect()
	newest := b.history.Newest()
	r, known := rollback.FindRecord(b.records, newest)
	if !known {
		r = rollback.NewRecord(b.key, newest, b.records, now)
	}
	r = r.Clone()
	for _, s := range b.signals {
		r.AddSignal(s)
	}
	if r.Rollback != nil {
		return refused(b.key, rollback.Handled, fmt.Sprintf("revision %d was rolled back already, or is being rolled back", r.Revision)), nil
	}
	c := e.caseOf(b, now)
	return e.dryRunDecision(ctx, rollback.DryRunResult{Record: r}, c)
}

// dryRunDecision asks Prometheus, observes the live route, runs the preflight, and
// decides.
func (e *executor) dryRunDecision(ctx context.Context, result rollback.DryRunResult, c rollback.Case) (rollback.DryRunResult, error) {
	r := &result.Record
	r.Confirm(e.queryPrometheusWithin(ctx, queryLong, *r, c.With(*r)))
	if slices.ContainsFunc(r.Signals, func(s rollback.Signal) bool { return s.Operator == "" && e.believes(s) }) {
		result.Assumed = append(result.Assumed, "that the alert fires: Prometheus was not asked")
	}
	c.Routing, result.Missed = e.observeRouting(ctx, *r, c.With(*r), rollback.Stored)
	result.Routing = c.Routing
	d, trace := rollback.DecideWithTrace(c.With(*r))
	if d.Rollback {
		r.Decide(d)
		p, err := e.plan(ctx, *r, c.History)
		if err != nil {
			return result, err
		}
		preflight, err := e.releases.Preflight(ctx, p)
		if err != nil {
			return result, fmt.Errorf("preflight of the rollback to revision %d: %w", p.Target, err)
		}
		r.PreflightTarget, r.Dangers, r.Owner = p.Target, preflight.Dangers, preflight.Owner
		d, trace = rollback.DecideWithTrace(c.With(*r))
	}
	r.Decide(d)
	r.Trace = &trace
	return result, nil
}
