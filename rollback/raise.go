package rollback

import (
	"context"
	"time"
)

// raise gives the canary the weight that the target declares, once the target's
// workloads are ready.
func (e *Engine) raise(ctx context.Context, r Record) (progress, error) {
	history, err := e.releases.History(ctx, r.Key)
	if err != nil {
		return progress{record: r}, err
	}
	if history.Accused().Number != r.Made {
		stored, err := e.amend(ctx, r, func(r *Record) bool {
			r.Raise = &Step{Started: time.Now().UTC(), Failed: true, Error: "the release has moved on to another revision, whose weights stand"}
			return true
		})
		return progress{record: stored}, err
	}
	ready, waiting, err := e.releases.Ready(ctx, r.Key, r.Made)
	if err != nil {
		return progress{record: r}, err
	}
	if !ready {
		stored, err := e.amend(ctx, r, func(r *Record) bool {
			if r.Raise == nil {
				r.Raise = &Step{Started: time.Now().UTC()}
			} else if r.Raise.Error == waiting {
				return false
			}
			r.Raise.Error = waiting
			return true
		})
		return progress{record: stored, again: lookInterval}, err
	}
	manifest, err := e.releases.Manifest(ctx, r.Key, r.Made)
	var weights []Weight
	if err == nil {
		weights, err = e.traffic.Raise(ctx, r.Key, manifest)
	}
	stored, saveErr := e.amend(ctx, r, func(r *Record) bool {
		if r.Raise == nil {
			r.Raise = &Step{Started: time.Now().UTC()}
		}
		r.Raise.finish(err)
		return true
	})
	e.tell(ctx, stored, stepRaise, stored.Raise, describe(weights))
	return progress{record: stored, again: retry(stored.Raise)}, saveErr
}
