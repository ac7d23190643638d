package helm

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"helm.sh/helm/v3/pkg/release"
	"helm.sh/helm/v3/pkg/storage/driver"

	"github.com/upcommerce/backout/rollback"
)

// guard is a Helm storage driver for one planned rollback. It makes no revision
// but the one after the newest, and that only while the planned one is the
// newest, and changes none that is newer. It reads no revision but those of the
// plan, each once: Helm would decode the whole history, twice.
//
// Storage.MaxHistory has to be 0 with it, because pruning needs the whole
// history.
type guard struct {
	driver.Driver

	ctx  context.Context //nolint:containedctx // Helm's driver methods take none; the guard lives for one call.
	plan rollback.Plan
	// heads reads what the release's revisions are, newest first.
	heads func(context.Context) ([]head, error)
	// supersede changes the status of an older revision that is deployed.
	supersede func(ctx context.Context, revision int) error

	// stored are the revisions that were read, by key.
	stored map[string]*release.Release
	// older are the revisions that Helm wants superseded.
	older []int
}

// errPending says that another Helm operation is in flight.
var errPending = errors.New("a Helm operation is in flight: wait for its end, or recover it")

// check returns rollback.ErrMoved unless the planned revision is the newest, the
// accused one is there, and all between them are backout's own attempts.
func (g *guard) check() error {
	heads, err := g.heads(g.ctx)
	if err != nil {
		return err
	}
	newest, accused := g.plan.Newest, g.plan.Accused
	if heads[0].number != newest.Number || heads[0].uid != newest.UID {
		return fmt.Errorf("%s is at revision %d, planned for %d: %w", g.plan.Key, heads[0].number, newest.Number, rollback.ErrMoved)
	}
	for _, h := range heads {
		if h.number > accused.Number && h.claim != accused.UID {
			return fmt.Errorf("revision %d of %s is somebody else's: %w", h.number, g.plan.Key, rollback.ErrMoved)
		}
	}
	if !slices.ContainsFunc(heads, func(h head) bool { return h.number == accused.Number && h.uid == accused.UID }) {
		return fmt.Errorf("revision %d of %s is not there any more: %w", accused.Number, g.plan.Key, rollback.ErrMoved)
	}
	if heads[0].status.Pending() {
		return fmt.Errorf("revision %d of %s is %s: %w", newest.Number, g.plan.Key, heads[0].status, errPending)
	}
	return nil
}

// Get reads one revision; one that cannot be decoded is an error, where Helm's
// driver would panic. Every caller gets a copy, whose status Helm may change.
func (g *guard) Get(key string) (*release.Release, error) {
	stored, known := g.stored[key]
	if !known {
		var err error
		if stored, err = read(g.Driver, key); err != nil {
			return nil, err
		}
		g.stored[key] = stored
	}
	c, info := *stored, *stored.Info
	c.Info = &info
	return &c, nil
}

func (g *guard) revision(number int) (*release.Release, error) {
	stored, err := g.Get(secretName(g.plan.Key.Release, number))
	if err != nil {
		return nil, fmt.Errorf("read revision %d of %s: %w", number, g.plan.Key, err)
	}
	return stored, nil
}

// Query answers Helm's questions for the release's history with the target and
// the newest revision alone; the newest declares what may be live, as Helm takes
// it. A question for a status is passed on.
func (g *guard) Query(labels map[string]string) ([]*release.Release, error) {
	if _, byStatus := labels["status"]; byStatus {
		return g.Driver.Query(labels)
	}
	if err := g.check(); err != nil {
		return nil, err
	}
	target, err := g.revision(g.plan.Target)
	if err != nil {
		return nil, err
	}
	newest, err := g.revision(g.plan.Newest.Number)
	if err != nil {
		return nil, err
	}
	if newest.Manifest, err = g.live(); err != nil {
		return nil, err
	}
	return []*release.Release{target, newest}, nil
}

// live returns the manifest that Helm is to take for what is live.
func (g *guard) live() (string, error) {
	accused, err := g.revision(g.plan.Accused.Number)
	if err != nil || g.plan.Newest.Number == g.plan.Accused.Number {
		return manifestOf(accused), err
	}
	attempt, err := g.revision(g.plan.Newest.Number)
	if err != nil {
		return "", err
	}
	target, err := g.revision(g.plan.Target)
	if err != nil {
		return "", err
	}
	return between(g.plan.Key.Namespace, accused.Manifest, attempt.Manifest, target.Manifest)
}

func manifestOf(stored *release.Release) string {
	if stored == nil {
		return ""
	}
	return stored.Manifest
}

// Create writes the planned revision, or returns rollback.ErrMoved. The name of
// the Secret is the only lock that Helm has: whoever creates it first has the
// revision.
func (g *guard) Create(key string, rls *release.Release) error {
	if rls.Version != g.plan.Newest.Number+1 {
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

// Update changes the planned revision. Of an older one nothing changes but its
// status, from deployed to superseded, and that not before the planned one
// becomes deployed: when a rollback fails, Helm would supersede the newest
// revision though nothing took its place, and the next helm upgrade would take
// the failed one for what is live. A revision that somebody made meanwhile stays
// as it is.
func (g *guard) Update(key string, rls *release.Release) error {
	planned := g.plan.Newest.Number + 1
	switch {
	case rls.Version > planned:
		return fmt.Errorf("revision %d of %s is somebody else's: %w", rls.Version, g.plan.Key, rollback.ErrMoved)
	case rls.Version < planned && rls.Info.Status == release.StatusSuperseded:
		g.older = append(g.older, rls.Version)
		return nil
	case rls.Version < planned:
		return fmt.Errorf("a rollback leaves revision %d of %s as it is, it does not become %s", rls.Version, g.plan.Key, rls.Info.Status)
	case rls.Info.Status == release.StatusDeployed:
		for _, number := range g.older {
			if err := g.supersede(g.ctx, number); err != nil {
				return err
			}
		}
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
