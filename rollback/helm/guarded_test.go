package helm

import (
	"context"
	"io"
	"slices"
	"testing"

	"helm.sh/helm/v3/pkg/action"
	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/kube"
	kubefake "helm.sh/helm/v3/pkg/kube/fake"
	"helm.sh/helm/v3/pkg/release"
	"helm.sh/helm/v3/pkg/storage"
	"helm.sh/helm/v3/pkg/storage/driver"

	"github.com/upcommerce/backout/rollback"
)

// guarded is a guard on Helm's memory driver, which has revisions 1 to 5 of web, with a
// plan from 5 to 2.
type guarded struct {
	*guard
	memory *driver.Memory
	// revisions are those in the cluster, newest first; err is returned in their
	// place.
	revisions []revisionMeta
	err       error
	// gets are the revisions that were read, superseded those that were superseded.
	gets       []string
	superseded []int
}

// spy is a driver that records which keys are read.
type spy struct {
	driver.Driver
	gets *[]string
}

func (s spy) Get(key string) (*release.Release, error) {
	*s.gets = append(*s.gets, key)
	return s.Driver.Get(key)
}

func newGuarded(t *testing.T) *guarded {
	t.Helper()
	g := &guarded{memory: driver.NewMemory(), revisions: []revisionMeta{
		{number: 5, uid: "uid-5", status: rollback.StatusDeployed}, {number: 4, uid: "uid-4", status: rollback.StatusSuperseded},
	}}
	g.memory.SetNamespace("shop")
	for number := 1; number <= 5; number++ {
		status := release.StatusSuperseded
		if number == 5 {
			status = release.StatusDeployed
		}
		if err := g.memory.Create(objectName("web", number), aRelease(number, status)); err != nil {
			t.Fatal(err)
		}
	}
	suspect := rollback.Revision{Number: 5, UID: "uid-5"}
	g.guard = &guard{
		Driver: spy{g.memory, &g.gets}, ctx: t.Context(), stored: make(map[string]*release.Release),
		plan: rollback.Plan{
			Key: rollback.Key{Namespace: "shop", Release: "web"}, Suspect: suspect, Newest: suspect, Target: 2,
		},
		metas: func(context.Context) ([]revisionMeta, error) { return g.revisions, g.err },
		supersede: func(_ context.Context, number int) error {
			g.superseded = append(g.superseded, number)
			stored, err := g.memory.Get(objectName("web", number))
			if err == nil {
				stored.Info.Status = release.StatusSuperseded
			}
			return err
		},
	}
	return g
}

// interrupted is a guard after an attempt that was interrupted and recovered: revision 6
// exists, failed and with backout's claim.
func interrupted(t *testing.T) *guarded {
	t.Helper()
	g := newGuarded(t)
	if err := g.memory.Create(objectName("web", 6), aRelease(6, release.StatusFailed)); err != nil {
		t.Fatal(err)
	}
	g.plan.Newest = rollback.Revision{Number: 6, UID: "uid-6", Claim: "uid-5"}
	g.revisions = append([]revisionMeta{{number: 6, uid: "uid-6", claim: "uid-5", status: rollback.StatusFailed}}, g.revisions...)
	return g
}

func aRelease(number int, status release.Status) *release.Release {
	return &release.Release{
		Name: "web", Namespace: "shop", Version: number, Manifest: "# nothing\n",
		Chart: &chart.Chart{Metadata: &chart.Metadata{Name: "web", Version: "1.0.0", APIVersion: "v2"}},
		Info:  &release.Info{Status: status, Description: "Upgrade complete"},
	}
}

// rollBack rolls back with Helm through the guard, on Helm's own fake of a cluster.
func (g *guarded) rollBack() error {
	return g.rollBackOn(&kubefake.PrintingKubeClient{Out: io.Discard})
}

func (g *guarded) rollBackOn(cluster kube.Interface) error {
	run := action.NewRollback(&action.Configuration{
		Releases: storage.Init(g.guard), KubeClient: cluster,
		Capabilities: chartutil.DefaultCapabilities, Log: func(string, ...any) {},
	})
	run.Version = g.plan.Target
	return run.Run("web")
}

// statuses returns the status of each stored revision, by number.
func (g *guarded) statuses(t *testing.T) []release.Status {
	t.Helper()
	stored, err := g.memory.List(func(*release.Release) bool { return true })
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(stored, func(a, b *release.Release) int { return a.Version - b.Version })
	statuses := make([]release.Status, len(stored))
	for i, r := range stored {
		statuses[i] = r.Info.Status
	}
	return statuses
}
