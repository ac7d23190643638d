package rollback

import (
	"context"
	"time"
)

// shed sets the canary's weight to zero. A shed that cannot be done does not
// keep the rollback from being done.
func (e *Engine) shed(ctx context.Context, r Record) (progress, error) {
	started := time.Now().UTC()
	manifest, err := e.releases.Manifest(ctx, r.Key, r.Revision)
	var weights []Weight
	if err == nil {
		weights, err = e.traffic.Shed(ctx, r.Key, manifest)
	}
	stored, saveErr := e.amend(ctx, r, func(r *Record) bool {
		if r.Shed == nil {
			r.Shed = &Step{Started: started}
		}
		if len(weights) > 0 {
			r.Weights = weights
		}
		r.Shed.finish(err)
		return true
	})
	e.tell(ctx, stored, stepShed, stored.Shed, describe(weights))
	return progress{record: stored, again: retry(stored.Shed)}, saveErr
}
