package ledger

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// hanging is an API server that never answers.
type hanging struct{ resourcelock.Interface }

func (hanging) Get(ctx context.Context) (*resourcelock.LeaderElectionRecord, []byte, error) {
	<-ctx.Done()
	return nil, nil, ctx.Err()
}

func (hanging) Update(ctx context.Context, _ resourcelock.LeaderElectionRecord) error {
	<-ctx.Done()
	return ctx.Err()
}

func TestLockBoundsEveryRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := &lock{Interface: hanging{}, term: newTerm(5 * time.Second), timeout: 2 * time.Second, log: slog.New(slog.DiscardHandler)}
		for name, request := range map[string]func() error{
			"renew":   func() error { return k.Update(t.Context(), resourcelock.LeaderElectionRecord{}) },
			"read":    func() error { _, _, err := k.Get(t.Context()); return err },
			"give up": func() error { return k.giveUp(t.Context()) },
		} {
			began := time.Now()
			err := request()
			if took := time.Since(began); !errors.Is(err, context.DeadlineExceeded) || took != 2*time.Second {
				t.Errorf("%s: a request that hangs leaves time for another: ended after %s with %v", name, took, err)
			}
		}
		if k.term.active() {
			t.Error("a renewal without an answer does not count")
		}
	})
}
