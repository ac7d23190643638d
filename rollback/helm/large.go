package helm

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/semaphore"
	"helm.sh/helm/v3/pkg/release"
)

// A preflight, rollback or comparison is large if one of its revisions is. A small one takes
// up to some 20 MiB of memory, a large one up to 80: only one of them runs at a time. Small
// ones never wait, whatever hook a large one waits for.
const (
	// smallNodes bounds the nodes of a small revision, as maxNodesOf counts them.
	smallNodes = 20_000
	// smallText bounds the text of its manifest, in bytes.
	smallText = 1 << 20
)

// maxTurnWait limits how long a rollback waits for its turn. The other one may run a hook for
// minutes, and the longer the wait, the less does the preflight say about now: the next attempt
// checks the rollback again.
const maxTurnWait = 2 * time.Second

// large lets one large preflight, rollback or comparison run at a time. It is safe for
// concurrent use.
type large struct{ turn *semaphore.Weighted }

func newLarge() large { return large{semaphore.NewWeighted(1)} }

// begin waits until no other one runs, and returns what ends this one. It returns an error
// if ctx ends before.
func (l large) begin(ctx context.Context) (end func(), err error) {
	if err := l.turn.Acquire(ctx, 1); err != nil {
		return nil, fmt.Errorf("wait until the rollback of another large release has ended: %w", err)
	}
	return func() { l.turn.Release(1) }, nil
}

// beginBriefly is begin that waits for maxTurnWait at most.
func (l large) beginBriefly(ctx context.Context) (end func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, maxTurnWait)
	defer cancel()
	return l.begin(ctx)
}

// isLarge reports whether the revision is large.
func isLarge(stored *release.Release) bool {
	return len(stored.Manifest) > smallText || maxNodesOf(stored.Manifest) > smallNodes
}

// rollBackLarge waits briefly for the turn of a large rollback, and returns what ends it. While
// it waits, the guard keeps no revision. A rollback below failed upgrades counts as large: their
// sum may be.
func (c *Client) rollBackLarge(ctx context.Context, g *guard) (end func(), err error) {
	if len(g.plan.Failed) > 0 {
		return c.large.beginBriefly(ctx)
	}
	for _, number := range []int{g.plan.Suspect.Number, g.plan.Target, g.plan.Newest.Number} {
		stored, err := g.revision(number)
		if err != nil {
			break // prepare returns it
		}
		if isLarge(stored) {
			clear(g.stored)
			return c.large.beginBriefly(ctx)
		}
	}
	return func() {}, nil
}
