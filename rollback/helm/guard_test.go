package helm

import (
	"context"
	"errors"
	"io"
	"slices"
	"testing"

	"helm.sh/helm/v3/pkg/action"
	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chartutil"
	kubefake "helm.sh/helm/v3/pkg/kube/fake"
	"helm.sh/helm/v3/pkg/release"
	"helm.sh/helm/v3/pkg/storage"
	"helm.sh/helm/v3/pkg/storage/driver"

	"github.com/upcommerce/backout/rollback"
)

// guarded is a guard on Helm's memory driver, which holds web at revisions 1 to
// 5, with a plan from 5 to 2.
type guarded struct {
	*guard
	memory *driver.Memory
	// number and uid are what the cluster says the newest revision is.
	number int
	uid    string
	// gets are the revisions that were read.
	gets []string
}

// spy is a driver that notes what is read of it.
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
	g := &guarded{memory: driver.NewMemory(), number: 5, uid: "uid-5"}
	g.memory.SetNamespace("shop")
	for number := 1; number <= 5; number++ {
		status := release.StatusSuperseded
		if number == 5 {
			status = release.StatusDeployed
		}
		if err := g.memory.Create(secretName("web", number), aRelease(number, status)); err != nil {
			t.Fatal(err)
		}
	}
	g.guard = &guard{
		Driver: spy{g.memory, &g.gets}, ctx: t.Context(),
		plan: rollback.Plan{
			Key: rollback.Key{Namespace: "shop", Release: "web"}, Accused: rollback.Revision{Number: 5, UID: "uid-5"}, Target: 2,
		},
		newest: func(context.Context) (int, string, error) { return g.number, g.uid, nil },
	}
	return g
}

func aRelease(number int, status release.Status) *release.Release {
	return &release.Release{
		Name: "web", Namespace: "shop", Version: number, Manifest: "# nothing\n",
		Chart: &chart.Chart{Metadata: &chart.Metadata{Name: "web", Version: "1.0.0", APIVersion: "v2"}},
		Info:  &release.Info{Status: status, Description: "Upgrade complete"},
	}
}

// rollBack has Helm roll back through the guard, with its own fake of a cluster.
func (g *guarded) rollBack() error {
	run := action.NewRollback(&action.Configuration{
		Releases: storage.Init(g.guard), KubeClient: &kubefake.PrintingKubeClient{Out: io.Discard},
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

func TestGuardedRollback(t *testing.T) {
	g := newGuarded(t)
	if err := g.rollBack(); err != nil {
		t.Fatal(err)
	}
	want := []release.Status{"superseded", "superseded", "superseded", "superseded", "superseded", "deployed"}
	if got := g.statuses(t); !slices.Equal(got, want) {
		t.Errorf("one revision is made and deployed, the accused one is superseded: got %v", got)
	}
	made, err := g.memory.Get(secretName("web", 6))
	if err != nil || made.Info.Description != rollback.Rollback(2) {
		t.Errorf("the revision that was made says what it is: got %v, %v", made, err)
	}
	for _, read := range g.gets {
		if read != secretName("web", 2) && read != secretName("web", 5) {
			t.Errorf("no revision but the accused and the target is read: got %s", read)
		}
	}
}

func TestGuardedRollbackMoved(t *testing.T) {
	for what, move := range map[string]func(*guarded){
		"a newer revision":                      func(g *guarded) { g.number, g.uid = 6, "uid-6" },
		"the same number in another life":       func(g *guarded) { g.uid = "uid-of-another-life" },
		"an older revision: the newest is gone": func(g *guarded) { g.number, g.uid = 4, "uid-4" },
		"somebody makes the next revision first": func(g *guarded) {
			_ = g.memory.Create(secretName("web", 6), aRelease(6, release.StatusPendingUpgrade))
		},
	} {
		t.Run(what, func(t *testing.T) {
			g := newGuarded(t)
			move(g)
			before := g.statuses(t)
			if err := g.rollBack(); !errors.Is(err, rollback.ErrMoved) {
				t.Errorf("the release is at another revision: got %v", err)
			}
			if got := g.statuses(t); !slices.Equal(got, before) {
				t.Errorf("nothing is written then: got %v, had %v", got, before)
			}
		})
	}
}

func TestGuardCreate(t *testing.T) {
	for what, c := range map[string]struct {
		number int
		move   func(*guarded)
		want   error
	}{
		"the planned revision":             {6, func(*guarded) {}, nil},
		"a later revision":                 {7, func(*guarded) {}, rollback.ErrMoved},
		"the accused revision itself":      {5, func(*guarded) {}, rollback.ErrMoved},
		"the planned one, and it moved":    {6, func(g *guarded) { g.number = 6 }, rollback.ErrMoved},
		"the planned one, in another life": {6, func(g *guarded) { g.uid = "uid-of-another-life" }, rollback.ErrMoved},
		"the planned one, and it is there": {6, func(g *guarded) {
			_ = g.memory.Create(secretName("web", 6), aRelease(6, release.StatusPendingUpgrade))
		}, rollback.ErrMoved},
	} {
		g := newGuarded(t)
		c.move(g)
		before := len(g.statuses(t))
		err := g.Create(secretName("web", c.number), aRelease(c.number, release.StatusPendingRollback))
		if !errors.Is(err, c.want) {
			t.Errorf("%s: want %v, got %v", what, c.want, err)
		}
		if made := len(g.statuses(t)) - before; (made == 1) != (c.want == nil) {
			t.Errorf("%s: only the planned revision is made: got %d", what, made)
		}
	}
}

func TestGuardQuery(t *testing.T) {
	g := newGuarded(t)
	found, err := g.Query(map[string]string{"name": "web", "owner": "helm"})
	if err != nil || len(found) != 2 || found[0].Version != 2 || found[1].Version != 5 {
		t.Errorf("Helm is told of the target and the accused revision only: got %v, %v", found, err)
	}
	away := errors.New("the API server is away")
	g.newest = func(context.Context) (int, string, error) { return 0, "", away }
	if _, err := g.Query(map[string]string{"name": "web", "owner": "helm"}); !errors.Is(err, away) {
		t.Errorf("what cannot be checked is not done: got %v", err)
	}
	if err := g.Create(secretName("web", 6), aRelease(6, release.StatusPendingRollback)); !errors.Is(err, away) {
		t.Errorf("what cannot be checked is not done: got %v", err)
	}
	if n := len(g.statuses(t)); n != 5 {
		t.Errorf("what cannot be checked is not done: got %d revisions", n)
	}
}

func TestGuardRefuses(t *testing.T) {
	g := newGuarded(t)
	if _, err := g.Delete(secretName("web", 1)); err == nil {
		t.Error("a rollback deletes no stored revision")
	}
	if _, err := g.List(func(*release.Release) bool { return true }); err == nil {
		t.Error("a rollback lists no other release")
	}
	if n := len(g.statuses(t)); n != 5 {
		t.Errorf("nothing is deleted: got %d revisions", n)
	}
}

func TestGuardUpdateLeavesSomebodyElsesRevision(t *testing.T) {
	g := newGuarded(t)
	const theirs = 7
	if err := g.memory.Create(secretName("web", theirs), aRelease(theirs, release.StatusDeployed)); err != nil {
		t.Fatal(err)
	}
	before := g.statuses(t)
	err := g.Update(secretName("web", theirs), aRelease(theirs, release.StatusSuperseded))
	if !errors.Is(err, rollback.ErrMoved) || !slices.Equal(g.statuses(t), before) {
		t.Errorf("a revision made meanwhile is left as it is: got %v, %v; had %v", err, g.statuses(t), before)
	}
}
