package engine

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/upcommerce/backout/rollback"
)

// servingSince returns when the pods of the case's newest content were first seen to serve,
// and no others, if a decision depends on it; else the zero time. A new process sees them
// later, and so asks for younger evidence.
func (e *executor) servingSince(ctx context.Context, r rollback.Record, c rollback.Case) time.Time {
	if c = c.With(r); e.prometheus == nil && e.grafana == nil || !c.AwaitsEvidence() || c.History.Newest().Status.Pending() {
		return time.Time{} // before Helm ends, the pods that are rolled out may be those of the revision before
	}
	id := servedContent{r.Key, c.ContentSince()}
	if since := e.returns.servingSince(id); !since.IsZero() {
		return since
	}
	ready, _, err := e.releases.Ready(ctx, r.Key, r.Revision)
	if err != nil && ctx.Err() == nil {
		e.log.WarnContext(ctx, "it is not known since when the pods serve; trying again", "namespace", r.Namespace,
			"release", r.Release, "revision", r.Revision, "error", err)
	}
	if err != nil || !ready {
		return time.Time{}
	}
	now := time.Now().UTC()
	e.returns.serves(id, now)
	return now
}

// watchReturns looks for known bad content that has come back, at each interval of the
// verification, until ctx ends. Only the leader does it, and it needs Prometheus: without, an
// alert counts once Alertmanager repeats it. It sends no request about a release whose newest
// content is not known bad.
func (e *Engine) watchReturns(ctx context.Context) {
	if e.prometheus == nil && e.grafana == nil {
		return
	}
	tick := time.NewTicker(verifyInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if e.leads() == nil {
			each(e.returns.keys(), func(k rollback.Key) { e.intake.checkReturn(ctx, k) })
		}
	}
}

// checkReturn stores the signals of known bad content with the newest revision that has this
// content again, if Prometheus says that they fire.
func (in *intake) checkReturn(ctx context.Context, k rollback.Key) {
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	b, err := in.readReturn(ctx, k)
	if err == nil && len(b.history) > 0 {
		err = in.storeReturn(ctx, b)
	}
	if err != nil && !errors.Is(err, rollback.ErrUnknownRelease) {
		in.logAndRetry(ctx, k, "look for known bad content that is back", err)
	}
}

// readReturn returns the release as the watches have delivered it; where they do not cover it,
// as it is stored, now and then. It returns no history if the newest content is not known bad.
func (in *intake) readReturn(ctx context.Context, k rollback.Key) (batch, error) {
	b := batch{key: k}
	if !in.policy.Allows(k) {
		return b, nil
	}
	history, err := in.releases.History(ctx, k, rollback.Cached)
	if errors.Is(err, rollback.ErrNotCached) {
		if !in.returns.mayRead(k, time.Now()) {
			return b, nil
		}
		history, err = in.releases.History(ctx, k, rollback.Stored)
	}
	if err != nil || !in.returns.isBack(k, history) {
		return b, err
	}
	b.records, err = in.ledger.Records(ctx, k, rollback.Cached)
	if errors.Is(err, rollback.ErrNotCached) {
		b.records, err = in.ledger.Records(ctx, k, rollback.Stored)
	}
	b.history = history
	return b, err
}

// storeReturn asks Prometheus about the signals that may go on, and stores those that fire. The
// decision about them is taken on what is stored.
func (in *intake) storeReturn(ctx context.Context, b batch) error {
	c := rollback.Case{Key: b.key, History: b.history, Records: b.records, Policy: in.policy, Now: time.Now().UTC()}.AtSuspect()
	suspect := c.History.Newest().UID
	limited, cancel := context.WithTimeout(ctx, queryLong)
	defer cancel()
	var mu sync.Mutex
	var firing []rollback.Signal
	unheard := slices.DeleteFunc(unlessItPanics(c.UnheardSignals), in.believes)
	each(in.returns.notOver(b.key, suspect, unheard), func(s rollback.Signal) {
		answer := in.firesNow(limited, b.key, s)
		mu.Lock()
		defer mu.Unlock()
		switch answer.Answer {
		case rollback.AnswerFiring:
			firing = append(firing, s.FiresAgain(answer, time.Now().UTC()))
		case rollback.AnswerQuiet, rollback.AnswerUnproven:
			in.returns.setOver(b.key, suspect, s)
		case rollback.AnswerUnknown:
		}
	})
	if len(firing) == 0 {
		return nil
	}
	stored, err := in.read(ctx, b.key, rollback.Recent)
	if err != nil {
		return err
	}
	if stored.signals = firing; stored.atSuspect().history.Newest().UID != suspect {
		return nil
	}
	in.countForStorm(stored)
	return in.store(ctx, stored)
}
