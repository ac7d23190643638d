package engine

import (
	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/parallel"
)

// batch is the part of a webhook that is about one release, and what Helm and the
// ledger know of that release.
type batch struct {
	key     rollback.Key
	signals []rollback.Signal
	history rollback.History
	// unfinished are the revisions above those of the history: see rollback.Case.
	unfinished []rollback.Revision
	// paused says who paused backout; "" if it is not paused.
	paused string
	// records are those that were stored before the lock was taken.
	records []rollback.Record
	// cached says that history and records come from this process's watches and may be
	// outdated; paused is not known then. Nothing depends on them alone: before the write,
	// a shed that was decided on them is decided again on the stored state
	// (fastPath.confirm), and everything that drops or delays an alert is decided on the
	// state that read returns.
	cached bool
}

// atSuspect returns the batch with the history from the revision on that its signals are about.
func (b batch) atSuspect() batch {
	c := rollback.Case{Key: b.key, History: b.history, Unfinished: b.unfinished, Signals: b.signals}.AtSuspect()
	b.history, b.unfinished = c.History, c.Unfinished
	return b
}

// maxStores bounds how many items each works on at a time.
const maxStores = 16

// each calls do for every item, maxStores at a time, and returns when all are done.
func each[T any](items []T, do func(T)) {
	var working parallel.WaitGroup
	room := make(chan struct{}, maxStores)
	for _, item := range items {
		room <- struct{}{}
		working.Go(func() {
			defer func() { <-room }()
			do(item)
		})
	}
	working.Wait()
}
