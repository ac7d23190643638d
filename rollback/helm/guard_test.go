package helm

import (
	"context"
	"errors"
	"io"
	"maps"
	"slices"
	"strings"
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

// guarded is a guard on Helm's memory driver, which holds web at revisions 1 to
// 5, with a plan from 5 to 2.
type guarded struct {
	*guard
	memory *driver.Memory
	// heads are what the cluster says the revisions are, newest first; err why it
	// says nothing.
	heads []head
	err   error
	// gets are the revisions that were read, restated those that were superseded.
	gets     []string
	restated []int
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
	g := &guarded{memory: driver.NewMemory(), heads: []head{{number: 5, uid: "uid-5"}, {number: 4, uid: "uid-4"}}}
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
	accused := rollback.Revision{Number: 5, UID: "uid-5"}
	g.guard = &guard{
		Driver: spy{g.memory, &g.gets}, ctx: t.Context(), stored: make(map[string]*release.Release),
		plan: rollback.Plan{
			Key: rollback.Key{Namespace: "shop", Release: "web"}, Accused: accused, Newest: accused, Target: 2,
		},
		heads: func(context.Context) ([]head, error) { return g.heads, g.err },
		supersede: func(_ context.Context, number int) error {
			g.restated = append(g.restated, number)
			stored, err := g.memory.Get(secretName("web", number))
			if err == nil {
				stored.Info.Status = release.StatusSuperseded
			}
			return err
		},
	}
	return g
}

// interrupted is a guard after an attempt that was interrupted and recovered:
// revision 6 is there, failed and ours.
func interrupted(t *testing.T) *guarded {
	t.Helper()
	g := newGuarded(t)
	if err := g.memory.Create(secretName("web", 6), aRelease(6, release.StatusFailed)); err != nil {
		t.Fatal(err)
	}
	g.plan.Newest = rollback.Revision{Number: 6, UID: "uid-6", Claim: "uid-5"}
	g.heads = append([]head{{number: 6, uid: "uid-6", claim: "uid-5", status: rollback.StatusFailed}}, g.heads...)
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
	slices.Sort(g.gets)
	if want := []string{secretName("web", 2), secretName("web", 5)}; !slices.Equal(g.gets, want) {
		t.Errorf("no revision but the accused and the target is read, each once: got %q", g.gets)
	}
}

func TestGuardedRollbackMoved(t *testing.T) {
	for what, move := range map[string]func(*guarded){
		"a newer revision":                      func(g *guarded) { g.heads = append([]head{{number: 6, uid: "uid-6"}}, g.heads...) },
		"the same number in another life":       func(g *guarded) { g.heads[0].uid = "uid-of-another-life" },
		"an older revision: the newest is gone": func(g *guarded) { g.heads = g.heads[1:] },
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
		"the planned one, and it moved":    {6, func(g *guarded) { g.heads[0].number = 6 }, rollback.ErrMoved},
		"the planned one, in another life": {6, func(g *guarded) { g.heads[0].uid = "uid-of-another-life" }, rollback.ErrMoved},
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
	g.err = away
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

// TestGuardAfterAnInterruption: what is live is something between the accused
// revision and the target, and Helm is told so.
func TestGuardAfterAnInterruption(t *testing.T) {
	object := func(name, value string) string {
		return "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: " + name + "}\ndata: {v: " + value + "}\n"
	}
	g := interrupted(t)
	for number, manifest := range map[int]string{
		5: object("both", "accused") + object("accused", "accused"),
		2: object("both", "target") + object("target", "target"),
		6: object("both", "attempt") + object("attempt", "attempt"),
	} {
		stored, err := g.memory.Get(secretName("web", number))
		if err != nil {
			t.Fatal(err)
		}
		stored.Manifest = manifest
	}
	found, err := g.Query(map[string]string{"name": "web", "owner": "helm"})
	if err != nil || len(found) != 2 || found[0].Version != 2 || found[1].Version != 6 {
		t.Fatalf("Helm is told of the target and of the newest revision: got %v, %v", found, err)
	}
	live, err := objects(found[1].Manifest)
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]any)
	for _, o := range live {
		got[o["metadata"].(map[string]any)["name"].(string)] = o["data"].(map[string]any)["v"]
	}
	want := map[string]any{"both": "accused", "accused": "accused", "attempt": "attempt", "target": "target"}
	if !maps.Equal(got, want) {
		t.Errorf("what may be live is what the accused revision declares, and what only the attempt or the target does: got %v", got)
	}
	if stored, _ := g.memory.Get(secretName("web", 6)); strings.Contains(stored.Manifest, "accused") {
		t.Error("what Helm is told is not what is stored")
	}

	if err := g.rollBack(); err != nil {
		t.Fatal(err)
	}
	statuses := []release.Status{"superseded", "superseded", "superseded", "superseded", "superseded", "failed", "deployed"}
	if got := g.statuses(t); !slices.Equal(got, statuses) {
		t.Errorf("the next revision is made; the attempt stays failed, Helm would call it superseded: got %v", got)
	}
	if stored, _ := g.memory.Get(secretName("web", 6)); strings.Contains(stored.Manifest, "accused") {
		t.Error("what Helm was told is not written back")
	}
}

func TestGuardKnowsItsOwnAttempts(t *testing.T) {
	for what, c := range map[string]struct {
		spoil func(*guarded)
		want  error
	}{
		"the attempt is not ours":              {func(g *guarded) { g.heads[0].claim = "" }, rollback.ErrMoved},
		"the attempt is for another revision":  {func(g *guarded) { g.heads[0].claim = "uid-4" }, rollback.ErrMoved},
		"the accused revision is gone":         {func(g *guarded) { g.heads = g.heads[:1] }, rollback.ErrMoved},
		"the accused one is from another life": {func(g *guarded) { g.heads[1].uid = "uid-of-another-life" }, rollback.ErrMoved},
		"the attempt was not recovered":        {func(g *guarded) { g.heads[0].status = rollback.StatusPendingRollback }, errPending},
		"there is another attempt": {func(g *guarded) {
			g.heads = append([]head{{number: 7, uid: "uid-7", claim: "uid-5"}}, g.heads...)
		}, rollback.ErrMoved},
	} {
		t.Run(what, func(t *testing.T) {
			g := interrupted(t)
			c.spoil(g)
			before := g.statuses(t)
			if err := g.rollBack(); !errors.Is(err, c.want) {
				t.Errorf("want %v, got %v", c.want, err)
			}
			if got := g.statuses(t); !slices.Equal(got, before) {
				t.Errorf("nothing is written then: got %v, had %v", got, before)
			}
		})
	}
}

// TestGuardAfterAFailure: Helm supersedes the newest revision also when the
// rollback failed.
func TestGuardAfterAFailure(t *testing.T) {
	g := newGuarded(t)
	failing := &kubefake.FailingKubeClient{
		PrintingKubeClient: kubefake.PrintingKubeClient{Out: io.Discard}, UpdateError: errors.New("the API server refuses"),
	}
	if err := g.rollBackOn(failing); err == nil {
		t.Fatal("an update that fails is an error")
	}
	want := []release.Status{"superseded", "superseded", "superseded", "superseded", "deployed", "failed"}
	if got := g.statuses(t); !slices.Equal(got, want) {
		t.Errorf("what was deployed stays so, because nothing took its place: got %v", got)
	}
}

func TestGuardSupersedesBeforeItDeploys(t *testing.T) {
	g := newGuarded(t)
	if err := g.Create(secretName("web", 6), aRelease(6, release.StatusPendingRollback)); err != nil {
		t.Fatal(err)
	}
	for _, u := range []struct {
		number   int
		status   release.Status
		refused  bool
		restated []int
	}{
		{5, release.StatusFailed, true, nil},
		{5, release.StatusSuperseded, false, nil},
		{6, release.StatusPendingRollback, false, nil},
		{6, release.StatusDeployed, false, []int{5}},
	} {
		err := g.Update(secretName("web", u.number), aRelease(u.number, u.status))
		if (err != nil) != u.refused || !slices.Equal(g.restated, u.restated) {
			t.Errorf("after revision %d is to be %s, %v are superseded: got %v, %v", u.number, u.status, u.restated, g.restated, err)
		}
	}
}
