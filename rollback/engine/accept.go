package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/upcommerce/backout/rollback"
)

// ErrBusy says that too many webhooks are being stored at the moment.
var ErrBusy = errors.New("too many webhooks at once: repeat this one")

// ErrTooManyReleases says that a webhook is about too many releases that the watches do not
// cover: reading them would flood the API server.
var ErrTooManyReleases = errors.New("too many releases in one webhook that are not cached: group alerts by namespace and release")

// maxReleasesRead bounds how many releases are read from the API server for one webhook;
// each takes some requests. Those that the watches have delivered take none. Beyond the
// bound, a release of which the watches have no revision does not exist.
const maxReleasesRead = 100

// maxWebhooks bounds how many webhooks are stored at a time.
const maxWebhooks = 32

// intake stores the signals of webhooks. It is safe for concurrent use.
type intake struct {
	*executor
	fast *fastPath
	// webhooks has room for those that are stored at a time.
	webhooks chan struct{}
	// refused bounds the log lines about refused alerts.
	refused rollback.LineLimits
}

// accept is Engine.Accept.
func (in *intake) accept(ctx context.Context, alerts []rollback.Alert) error {
	select {
	case in.webhooks <- struct{}{}:
		defer func() { <-in.webhooks }()
	default:
		return ErrBusy
	}
	now := time.Now()
	signals := make(map[rollback.Key][]rollback.Signal)
	for _, alert := range alerts {
		if k, s, ok := in.admit(ctx, alert, now); ok {
			signals[k] = append(signals[k], s)
		}
	}
	batches, err := in.readReleases(ctx, signals)
	errs := []error{err}
	var mu sync.Mutex
	each(batches, func(b batch) {
		if err := in.store(ctx, b); err != nil {
			mu.Lock()
			defer mu.Unlock()
			errs = append(errs, fmt.Errorf("store the alerts about %s: %w", b.key, err))
		}
	})
	return errors.Join(errs...)
}

// readReleases reads the state on which the signals are decided. It counts the releases
// that exist for a storm, before anything is decided about any of them.
func (in *intake) readReleases(ctx context.Context, signals map[rollback.Key][]rollback.Signal) ([]batch, error) {
	var (
		mu      sync.Mutex
		batches []batch
		errs    []error
		reads   atomic.Int32
		left    int
	)
	each(slices.Collect(maps.Keys(signals)), func(k rollback.Key) {
		b, err := in.readRelease(ctx, k, signals[k], &reads)
		mu.Lock()
		defer mu.Unlock()
		switch {
		case errors.Is(err, ErrTooManyReleases):
			left++
		case errors.Is(err, rollback.ErrUnknownRelease):
			in.refuseUnknown(ctx, k, signals[k], err.Error())
		case err != nil:
			errs = append(errs, fmt.Errorf("store the alerts about %s: %w", k, err))
		default:
			batches = append(batches, b)
		}
	})
	if left > 0 {
		errs = append(errs, fmt.Errorf("store the alerts about %d releases: %w", left, ErrTooManyReleases))
	}
	return batches, errors.Join(errs...)
}

// readRelease returns the state on which the signals of a release are decided. The cached
// state is enough where it makes them signals about the newest revision. Otherwise it
// counts a read; beyond maxReleasesRead it returns what the cache says of an unknown
// release, else ErrTooManyReleases.
func (in *intake) readRelease(ctx context.Context, k rollback.Key, signals []rollback.Signal, reads *atomic.Int32) (batch, error) {
	cached, err := in.readCached(ctx, k)
	if err == nil {
		cached.signals = signals
		if in.countForStorm(cached) {
			return cached, nil
		}
	}
	if reads.Add(1) > maxReleasesRead {
		if errors.Is(err, rollback.ErrUnknownRelease) {
			return batch{}, err
		}
		return batch{}, ErrTooManyReleases
	}
	b, err := in.read(ctx, k, rollback.Recent)
	if err != nil {
		return b, err
	}
	b.signals = signals
	in.countForStorm(b)
	return b, nil
}

// readCached returns the state of a release that this process's watches have delivered,
// without a request. It fails as Releases.History and Ledger.Records do.
func (in *intake) readCached(ctx context.Context, k rollback.Key) (batch, error) {
	history, err := in.releases.History(ctx, k, rollback.Cached)
	if err != nil {
		return batch{}, err
	}
	records, err := in.ledger.Records(ctx, k, rollback.Cached)
	return batch{key: k, history: history, records: records, cached: true}, err
}
