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

// lock is the Lease in the API server as client-go's elector uses it. It notes in
// the term every renewal that succeeds, and refuses to go on once somebody else has
// led: the elector alone would lead again as if nothing had been, and would give
// up, in another replica's name, a lease that it lost.
//
// It belongs to one goroutine at a time.
type lock struct {
	resourcelock.Interface
	term *term
	// timeout bounds one request: one that hangs must not use up the time in which
	// another could renew.
	timeout time.Duration
	// lose ends the campaign.
	lose    context.CancelCauseFunc
	log     *slog.Logger
	trouble trouble
}

var errDeleted = errors.New("its Lease was deleted")

// Get reads the Lease. If this process led and the Lease is not its own any more,
// the term ends.
func (k *lock) Get(ctx context.Context) (*resourcelock.LeaderElectionRecord, []byte, error) {
	bounded, cancel := context.WithTimeout(ctx, k.timeout)
	defer cancel()
	record, raw, err := k.Interface.Get(bounded)
	switch {
	case apierrors.IsNotFound(err):
		if k.term.runs() {
			k.end(errDeleted)
		}
	case err != nil:
		k.tell(ctx, err)
	case k.term.runs() && record.HolderIdentity != k.Identity():
		k.end(fmt.Errorf("the lease went to %s", holder(record)))
	}
	return record, raw, err
}

// Create makes the Lease, held by this process.
func (k *lock) Create(ctx context.Context, r resourcelock.LeaderElectionRecord) error {
	return k.write(ctx, r, k.Interface.Create)
}

// Update renews the Lease or takes it. The API server refuses it if anybody else
// wrote since Get.
func (k *lock) Update(ctx context.Context, r resourcelock.LeaderElectionRecord) error {
	return k.write(ctx, r, k.Interface.Update)
}

func (k *lock) write(ctx context.Context, r resourcelock.LeaderElectionRecord, send func(context.Context, resourcelock.LeaderElectionRecord) error) error {
	if err := k.term.over(); err != nil {
		return err
	}
	bounded, cancel := context.WithTimeout(ctx, k.timeout)
	defer cancel()
	asked := k.term.now()
	err := send(bounded, r)
	// To come second is no trouble.
	if !apierrors.IsConflict(err) && !apierrors.IsAlreadyExists(err) {
		k.tell(ctx, err)
	}
	if err == nil {
		k.term.renew(asked)
	}
	return err
}

// release gives the lease up, if it is still this process' own: the next replica
// that looks takes it. The term has to be over, and the elector to have returned.
func (k *lock) release(ctx context.Context) error {
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

// tell logs the first of a row of errors.
func (k *lock) tell(ctx context.Context, err error) {
	if ctx.Err() == nil && k.trouble.news(err) {
		k.log.WarnContext(ctx, "the lease cannot be had or renewed; trying again: is the API server up, and may backout get, create and update Leases?", "error", err)
	}
}

func holder(r *resourcelock.LeaderElectionRecord) string {
	if r.HolderIdentity == "" {
		return "nobody"
	}
	return r.HolderIdentity
}
