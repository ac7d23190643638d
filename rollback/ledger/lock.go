package ledger

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// lock is the Lease in the API server as client-go's elector uses it. It records every
// renewal that succeeds in the term, and stops once another replica has led: the elector
// alone would lead again as if nothing had happened, and would give up, in another
// replica's name, a lease that it lost.
//
// It belongs to one goroutine at a time.
type lock struct {
	resourcelock.Interface
	term *term
	// timeout bounds one request: one that hangs must not use up the time in which
	// another could renew.
	timeout time.Duration
	// lose ends the campaign.
	lose context.CancelCauseFunc
	log  *slog.Logger
	last failure
}

var (
	errDeleted  = errors.New("its Lease was deleted")
	errNoHolder = errors.New("the lease has no holder")
)

// Get reads the Lease. If this process led and the Lease is no longer its own, the term
// ends.
func (k *lock) Get(ctx context.Context) (*resourcelock.LeaderElectionRecord, []byte, error) {
	bounded, cancel := context.WithTimeout(ctx, k.timeout)
	defer cancel()
	record, raw, err := k.Interface.Get(bounded)
	switch {
	case apierrors.IsNotFound(err):
		if k.term.active() {
			k.end(errDeleted)
		}
	case err != nil:
		k.logFailure(ctx, err)
	case k.term.active() && record.HolderIdentity != k.Identity():
		k.end(lostTo(record.HolderIdentity))
	}
	return record, raw, err
}

func lostTo(holder string) error {
	if holder == "" {
		return errNoHolder
	}
	return fmt.Errorf("the lease went to %s", holder)
}

// Create makes the Lease, held by this process.
func (k *lock) Create(ctx context.Context, r resourcelock.LeaderElectionRecord) error {
	return k.write(ctx, r, k.Interface.Create)
}

// Update renews the Lease or takes it. The API server refuses it if another client wrote
// the Lease since Get.
func (k *lock) Update(ctx context.Context, r resourcelock.LeaderElectionRecord) error {
	return k.write(ctx, r, k.Interface.Update)
}

func (k *lock) write(ctx context.Context, r resourcelock.LeaderElectionRecord, send func(context.Context, resourcelock.LeaderElectionRecord) error) error {
	if err := k.term.cause(); err != nil {
		return err
	}
	bounded, cancel := context.WithTimeout(ctx, k.timeout)
	defer cancel()
	sent := k.term.now()
	err := send(bounded, r)
	// It is no failure if another replica was first.
	if !apierrors.IsConflict(err) && !apierrors.IsAlreadyExists(err) {
		k.logFailure(ctx, err)
	}
	if err == nil {
		k.term.renew(sent)
	}
	return err
}

// giveUp frees the lease if this process still holds it: the next replica that reads it
// takes it. The term has to be over, and the elector to have returned.
func (k *lock) giveUp(ctx context.Context) error {
	bounded, cancel := context.WithTimeout(ctx, k.timeout)
	defer cancel()
	record, _, err := k.Interface.Get(bounded)
	if err != nil || record.HolderIdentity != k.Identity() {
		return err
	}
	now := metav1.Now()
	return k.Interface.Update(bounded, resourcelock.LeaderElectionRecord{
		LeaderTransitions: record.LeaderTransitions, LeaseDurationSeconds: 1, AcquireTime: now, RenewTime: now,
	})
}

func (k *lock) end(cause error) {
	k.term.end(cause)
	k.lose(cause)
}

// logFailure logs the first of several errors in a row.
func (k *lock) logFailure(ctx context.Context, err error) {
	if ctx.Err() == nil && k.last.isNew(err) {
		k.log.WarnContext(ctx, "the lease can be neither taken nor renewed; trying again: is the API server up, and may backout get, create and update Leases?", "error", err)
	}
}
