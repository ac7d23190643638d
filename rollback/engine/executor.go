package engine

import (
	"context"
	"hash/maphash"
	"log/slog"
	"time"

	"github.com/upcommerce/backout/rollback"
)

// Bounds of the steps. A shed that fails gives way to the rollback after shedLimit; the
// other steps outlast an API server that does not answer for some minutes.
const (
	maxShedAttempts = 5
	maxAttempts     = 20
	// stepTimeout limits one step, Helm's part of a rollback apart.
	stepTimeout = 30 * time.Second
	// callTimeout limits what a step asks of others, so that its result can still be stored.
	callTimeout = 20 * time.Second
	// recheckInterval is how often a waiting step reads the cluster.
	recheckInterval = time.Second
)

// executor takes single steps. Every replica may shed; only the leader takes the other
// steps, and their callers check leads first.
type executor struct {
	releases   rollback.Releases
	traffic    rollback.Traffic
	ledger     rollback.Ledger
	prometheus rollback.Prometheus
	grafana    rollback.Evaluator
	leads      func() error
	policy     rollback.Policy
	board      Board
	metrics    *metrics
	log        *slog.Logger
	storms     storms
	obstacles  obstacles
	watches    watches
	returns    returns

	// enqueue schedules the release's open records. It never blocks.
	enqueue func(rollback.Key)
	// giveWay lets another release be worked on besides this one. It never blocks.
	giveWay func(rollback.Key)

	// locks serialize this process's writes to one release's records, so that
	// ErrConflict is left for other writers.
	locks [64]recordLock
	seed  maphash.Seed
}

// progress is a record after one step, and the time until the next one if it waits.
type progress struct {
	record rollback.Record
	again  time.Duration
}

// logAndRetry logs an error that does not end a record, and returns when to try again.
func (e *executor) logAndRetry(ctx context.Context, k rollback.Key, step string, err error) time.Duration {
	if ctx.Err() == nil {
		e.log.ErrorContext(ctx, "step not possible now; trying again", "namespace", k.Namespace,
			"release", k.Release, "step", step, "error", err)
	}
	return recheckInterval
}

// Board shows what the engine knows; *report.Board is one.
type Board interface {
	// SetRecord shows a record as it is stored now.
	SetRecord(r rollback.Record)
	// AddRefusal counts alerts that were refused.
	AddRefusal(r rollback.Refusal)
}

// noBoard shows nothing.
type noBoard struct{}

func (noBoard) SetRecord(rollback.Record)   {}
func (noBoard) AddRefusal(rollback.Refusal) {}
