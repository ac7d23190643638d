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

// guard is a Helm storage driver for one planned rollback. It creates only the revision
// after the newest, and only while the planned one is the newest, and changes no newer
// revision. It reads only the revisions of the plan, each once: Helm would decode the
// whole history, twice.
//
// It requires that Storage.MaxHistory is 0, because pruning needs the whole history.
type guard struct {
	driver.Driver

	ctx  context.Context //nolint:containedctx // Helm's driver methods take none; the guard lives for one call.
	plan rollback.Plan
	// metas reads the release's revisions, newest first.
	metas func(context.Context) ([]revisionMeta, error)
	// supersede changes the status of an older revision from deployed to superseded.
	supersede func(ctx context.Context, revision int) error

	// decoding limits how many nodes are counted at a time.
	decoding decoding

	// stored are the revisions that were read, by key.
	stored map[string]*release.Release
	// live is the manifest of everything that may be live, once it is known.
	live string
	// toSupersede are the revisions that Helm wants superseded.
	toSupersede []int
}

// errPending says that another Helm operation is in progress.
var errPending = errors.New("a Helm operation is in progress: wait until it ends, or recover the release")

// checkPlan returns rollback.ErrRevisionChanged unless the planned revision is the
// newest, the suspect one exists, and all newer than that are backout's own attempts or the
// failed ones of the plan.
func (g *guard) checkPlan() error {
	metas, err := g.metas(g.ctx)
	if err != nil {
		return err
	}
	newest, suspect := g.plan.Newest, g.plan.Suspect
	if metas[0].number != newest.Number || metas[0].uid != newest.UID {
		return fmt.Errorf("%s is at revision %d, the rollback was planned at %d: %w", g.plan.Key, metas[0].number, newest.Number, rollback.ErrRevisionChanged)
	}
	for _, h := range metas {
		failed := slices.ContainsFunc(g.plan.Failed, func(r rollback.Revision) bool { return r.UID == h.uid && h.status == rollback.StatusFailed })
		if h.number > suspect.Number && h.claim != suspect.UID && !failed {
			return fmt.Errorf("another client wrote revision %d of %s: %w", h.number, g.plan.Key, rollback.ErrRevisionChanged)
		}
	}
	if !slices.ContainsFunc(metas, func(h revisionMeta) bool { return h.number == suspect.Number && h.uid == suspect.UID }) {
		return fmt.Errorf("revision %d of %s no longer exists: %w", suspect.Number, g.plan.Key, rollback.ErrRevisionChanged)
	}
	if metas[0].status.Pending() {
		return fmt.Errorf("revision %d of %s is %s: %w", newest.Number, g.plan.Key, metas[0].status, errPending)
	}
	return nil
}

// Get reads one revision. If it cannot be decoded, Get returns an error, where Helm's
// driver would panic. Every caller gets a copy, because Helm changes its status.
func (g *guard) Get(key string) (*release.Release, error) {
	stored, known := g.stored[key]
	if !known {
		var err error
		if stored, err = read(g.ctx, g.Driver, key, g.decoding); err != nil {
			return nil, err
		}
		g.stored[key] = stored
	}
	c, info := *stored, *stored.Info
	c.Info = &info
	return &c, nil
}

func (g *guard) revision(number int) (*release.Release, error) {
	stored, err := g.Get(objectName(g.plan.Key.Release, number))
	if err != nil {
		return nil, fmt.Errorf("read revision %d of %s: %w", number, g.plan.Key, err)
	}
	return stored, nil
}

// Query returns only the target and the newest revision for Helm's queries of the
// release's history; the newest has the manifest of everything that may be live, because
// Helm takes it for the live one.
func (g *guard) Query(labels map[string]string) ([]*release.Release, error) {
	if status, byStatus := labels["status"]; byStatus {
		return g.withStatus(status)
	}
	if err := g.checkPlan(); err != nil {
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
	if newest.Manifest, err = g.liveManifest(); err != nil {
		return nil, err
	}
	return []*release.Release{target, newest}, nil
}

// withStatus returns the revisions of that status, with nothing but their number and
// status: Helm asks for those that it is to supersede, and changes only their status.
func (g *guard) withStatus(status string) ([]*release.Release, error) {
	metas, err := g.metas(g.ctx)
	if err != nil {
		return nil, err
	}
	var found []*release.Release
	for _, m := range metas {
		if string(m.status) == status {
			found = append(found, &release.Release{
				Name: g.plan.Key.Release, Namespace: g.plan.Key.Namespace, Version: m.number,
				Info: &release.Info{Status: release.Status(status)},
			})
		}
	}
	if len(found) == 0 {
		return nil, driver.ErrReleaseNotFound
	}
	return found, nil
}

// liveManifest returns the manifest of everything that may be live. It keeps no failed upgrade
// of the plan but the newest revision.
func (g *guard) liveManifest() (string, error) {
	if g.live != "" {
		return g.live, nil
	}
	suspect, err := g.revision(g.plan.Suspect.Number)
	if err != nil {
		return "", err
	}
	if g.plan.Newest.Number == g.plan.Suspect.Number {
		return suspect.Manifest, nil
	}
	attempt, err := g.revision(g.plan.Newest.Number)
	if err != nil {
		return "", err
	}
	target, err := g.revision(g.plan.Target)
	if err != nil {
		return "", err
	}
	sum, err := manifestWithFailed(g.ctx, g.plan, suspect, g.decoding, func(number int) (*release.Release, error) {
		failed, err := g.revision(number)
		if number != g.plan.Newest.Number {
			delete(g.stored, objectName(g.plan.Key.Release, number))
		}
		return failed, err
	})
	if err != nil {
		return "", fmt.Errorf("read revision %d of %s: %w", suspect.Version, g.plan.Key, err)
	}
	g.live, err = manifestAfterInterruption(g.plan.Key.Namespace, sum, attempt.Manifest, target.Manifest)
	return g.live, err
}

// Create writes the planned revision, or returns rollback.ErrRevisionChanged. The name
// of the stored object is the only lock that Helm has: the client that creates it first owns
// the revision.
func (g *guard) Create(key string, rls *release.Release) error {
	if rls.Version != g.plan.Newest.Number+1 {
		return fmt.Errorf("revision %d of %s is not the planned one: %w", rls.Version, g.plan.Key, rollback.ErrRevisionChanged)
	}
	if err := g.checkPlan(); err != nil {
		return err
	}
	err := g.Driver.Create(key, rls)
	if errors.Is(err, driver.ErrReleaseExists) {
		return fmt.Errorf("another client created revision %d of %s: %w", rls.Version, g.plan.Key, rollback.ErrRevisionChanged)
	}
	return err
}

// Update changes the planned revision. Of an older one it changes only the status, from
// deployed to superseded, and only when the planned one becomes deployed: when a rollback
// fails, Helm would supersede the newest revision though nothing replaced it, and the
// next helm upgrade would take the failed one for the live one. Update does not change a
// revision that another client created meanwhile.
func (g *guard) Update(key string, rls *release.Release) error {
	planned := g.plan.Newest.Number + 1
	switch {
	case rls.Version > planned:
		return fmt.Errorf("another client wrote revision %d of %s: %w", rls.Version, g.plan.Key, rollback.ErrRevisionChanged)
	case rls.Version < planned && rls.Info.Status == release.StatusSuperseded:
		g.toSupersede = append(g.toSupersede, rls.Version)
		return nil
	case rls.Version < planned:
		return fmt.Errorf("revision %d of %s does not become %s: a rollback leaves older revisions as they are", rls.Version, g.plan.Key, rls.Info.Status)
	case rls.Info.Status == release.StatusDeployed:
		for _, number := range g.toSupersede {
			if err := g.supersede(g.ctx, number); err != nil {
				return err
			}
		}
	}
	return g.Driver.Update(key, rls)
}

// errNoDelete says that a rollback deletes no revision.
var errNoDelete = errors.New("a rollback deletes no stored revision")

// Delete returns errNoDelete.
func (g *guard) Delete(string) (*release.Release, error) { return nil, errNoDelete }

// List returns an error: it would read every release of the namespace.
func (g *guard) List(func(*release.Release) bool) ([]*release.Release, error) {
	return nil, errors.New("a rollback lists no other release")
}
