package notify

import (
	"context"
	"errors"
	"time"

	"github.com/upcommerce/backout/rollback/report"
)

// channel is one way to the team.
type channel struct {
	// name is the metrics' label and the key in the record.
	name string
	// selects returns the entries of a report that the channel sends.
	selects func(r *report.Report) []report.Entry
	// perRelease channels send each record of a storm: they cannot flood the team.
	perRelease bool
	// idempotent channels may send the same again without harm, so that the record does
	// not store what they have sent.
	idempotent bool
	// pace is the least time between two deliveries.
	pace time.Duration
	// refreshes reports whether the report has to be sent again every refreshInterval;
	// nil: never.
	refreshes func(r *report.Report) bool
	// deliver sends the report; it may be called again with the same.
	deliver deliverFunc
}

// errMore says that the first part of a delivery is done, and that the rest is another
// delivery. The message ID is stored before that.
var errMore = errors.New("the rest follows")

// deliverFunc sends a report, of which entries were not sent before, and returns the ID
// of its message in the channel. The ID counts even with an error; entries count as sent
// without one. It ends with ctx.
type deliverFunc func(ctx context.Context, r *report.Report, entries []report.Entry, messageID string) (string, error)

// allEntries selects every entry.
func allEntries(r *report.Report) []report.Entry { return r.Timeline }

// outcomes selects the entries that interrupt the team.
func outcomes(r *report.Report) []report.Entry { return r.Outcomes() }
