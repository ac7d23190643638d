package notify

import (
	"context"
	"errors"
	"time"
)

// A channel is one way to people.
type channel struct {
	// name is the metrics' label and the key in the record.
	name string
	// wants returns the lines of a report that are the channel's to tell.
	wants func(r *Report) []Line
	// alone has each release of a storm told by itself: there are no people to be
	// flooded.
	alone bool
	// idempotent channels take the same any number of times, so the record need not
	// know what they were told.
	idempotent bool
	// pace is the least time between two deliveries.
	pace time.Duration
	// lasts reports whether the report has to be told again and again, every
	// refreshInterval; nil: never.
	lasts func(r *Report) bool
	// deliver tells the report; it may be called again with the same.
	deliver delivery
}

// errMore says that a delivery was done so far, and that the rest is another one:
// where it is found again is noted before that.
var errMore = errors.New("the rest follows")

// delivery tells a report, of which news was not told before, and returns where it
// is found again. That counts even with an error; news counts as told without one.
// It ends with ctx.
type delivery func(ctx context.Context, r *Report, news []Line, place string) (string, error)

// everything has every line told.
func everything(r *Report) []Line { return r.Story }

// outcomes has told what a person wants to be called for.
func outcomes(r *Report) []Line { return r.Outcomes() }
