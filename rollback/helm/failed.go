package helm

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"helm.sh/helm/v3/pkg/release"

	"github.com/upcommerce/backout/rollback"
)

// checkFailed returns an error if there are more failed upgrades above the suspect revision
// than backout reads. Each may declare other objects, and a client that writes Helm's objects can make
// any number of them.
func checkFailed(p rollback.Plan) error {
	if len(p.Failed) <= maxUnfinished {
		return nil
	}
	return fmt.Errorf("%d failed revisions above revision %d: more than backout reads, which is %d", len(p.Failed), p.Suspect.Number, maxUnfinished)
}

// newestFailed returns the failed upgrades of the plan that are read, newest first.
func newestFailed(p rollback.Plan) []rollback.Revision {
	newest := slices.SortedFunc(slices.Values(p.Failed), func(a, b rollback.Revision) int { return cmp.Compare(b.Number, a.Number) })
	return newest[:min(len(newest), maxUnfinished)]
}

// manifestWithFailed returns the manifest of the suspect revision with the objects that only
// the failed upgrades of the plan declare. It returns errCorrupt if they are too large in sum.
// It reads one of them at a time, and keeps none.
func manifestWithFailed(ctx context.Context, p rollback.Plan, suspect *release.Release, d decoding, read func(number int) (*release.Release, error)) (string, error) {
	sum := *suspect
	for _, r := range newestFailed(p) {
		failed, err := read(r.Number)
		if err != nil {
			return "", err
		}
		if sum.Manifest, err = manifestAfterInterruption(p.Key.Namespace, sum.Manifest, failed.Manifest); err != nil {
			return "", err
		}
		if err := checkManifests(ctx, &sum, d); err != nil {
			return "", fmt.Errorf("with the failed revision %d above: %w", r.Number, corrupt(err))
		}
	}
	return sum.Manifest, nil
}
