package helm

import (
	"context"
	"errors"
	"fmt"

	"helm.sh/helm/v3/pkg/release"
	"helm.sh/helm/v3/pkg/storage/driver"

	"github.com/upcommerce/backout/rollback"
)

// guard is a Helm storage driver for one planned rollback. It makes no revision
// but the one after the accused, and that only while the accused one is the
// newest, and changes none that is newer. It reads no revision but the accused and the target: Helm would decode
// the whole history, twice.
//
// Storage.MaxHistory has to be 0 with it, because pruning needs the whole
// history.
type guard struct {
	driver.Driver

	ctx  context.Context //nolint:containedctx // Helm's driver methods take none; the guard lives for one call.
	plan rollback.Plan
	// newest reads the number and the UID of the release's newest revision.
	newest func(context.Context) (number int, uid string, err error)
}

// check returns rollback.ErrMoved unless the accused revision is the newest.
func (g *guard) check() error {
	number, uid, err := g.newest(g.ctx)
	if err != nil {
		return err
	}
	if number != g.plan.Accused.Number || uid != g.plan.Accused.UID {
		return fmt.Errorf("%s is at revision %d, planned for %d: %w", g.plan.Key, number, g.plan.Accused.Number, rollback.ErrMoved)
	}
	return nil
}

// Get reads one revision; one that cannot be decoded is an error, where Helm's
// driver would panic.
func (g *guard) Get(key string) (*release.Release, error) { return read(g.Driver, key) }

// Query answers Helm's questions for the release's history with the accused and
// the target revision alone. A question for a status is passed on.
func (g *guard) Query(labels map[string]string) ([]*release.Release, error) {
	if _, byStatus := labels["status"]; byStatus {
		return g.Driver.Query(labels)
	}
	if err := g.check(); err != nil {
		return nil, err
	}
	var found []*release.Release
	for _, number := range []int{g.plan.Target, g.plan.Accused.Number} {
		stored, err := g.Get(secretName(g.plan.Key.Release, number))
		if err != nil {
			return nil, fmt.Errorf("read revision %d of %s: %w", number, g.plan.Key, err)
		}
		found = append(found, stored)
	}
	return found, nil
}

// Create writes the planned revision, or returns rollback.ErrMoved. The name of
// the Secret is the only lock that Helm has: whoever creates it first has the
// revision.
func (g *guard) Create(key string, rls *release.Release) error {
	if rls.Version != g.plan.Accused.Number+1 {
		return fmt.Errorf("revision %d of %s is not the planned one: %w", rls.Version, g.plan.Key, rollback.ErrMoved)
	}
	if err := g.check(); err != nil {
		return err
	}
	err := g.Driver.Create(key, rls)
	if errors.Is(err, driver.ErrReleaseExists) {
		return fmt.Errorf("revision %d of %s was made by somebody else: %w", rls.Version, g.plan.Key, rollback.ErrMoved)
	}
	return err
}

// Update changes the planned revision and those before it, as a rollback does. A
// revision that somebody made meanwhile stays as it is: Helm would call it
// superseded.
func (g *guard) Update(key string, rls *release.Release) error {
	if rls.Version > g.plan.Accused.Number+1 {
		return fmt.Errorf("revision %d of %s is somebody else's: %w", rls.Version, g.plan.Key, rollback.ErrMoved)
	}
	return g.Driver.Update(key, rls)
}

// errNoDelete says that a rollback deletes no revision.
var errNoDelete = errors.New("a rollback deletes no stored revision")

// Delete refuses.
func (g *guard) Delete(string) (*release.Release, error) { return nil, errNoDelete }

// List refuses: it would read every release of the namespace.
func (g *guard) List(func(*release.Release) bool) ([]*release.Release, error) {
	return nil, errors.New("a rollback lists no other release")
}
