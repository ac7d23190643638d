package helm

import (
	"errors"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"

	kubefake "helm.sh/helm/v3/pkg/kube/fake"
	"helm.sh/helm/v3/pkg/release"

	"github.com/upcommerce/backout/rollback"
)

func TestGuardedRollback(t *testing.T) {
	g := newGuarded(t)
	if err := g.rollBack(); err != nil {
		t.Fatal(err)
	}
	want := []release.Status{"superseded", "superseded", "superseded", "superseded", "superseded", "deployed"}
	if got := g.statuses(t); !slices.Equal(got, want) {
		t.Errorf("one revision is created and deployed, the suspect one is superseded: got %v", got)
	}
	made, err := g.memory.Get(objectName("web", 6))
	if err != nil || made.Info.Description != rollback.HelmDescription(2) {
		t.Errorf("the new revision says what it is: got %v, %v", made, err)
	}
	slices.Sort(g.gets)
	if want := []string{objectName("web", 2), objectName("web", 5)}; !slices.Equal(g.gets, want) {
		t.Errorf("only the suspect and the target revision are read, each once: got %q", g.gets)
	}
}

func TestGuardedRollbackOfAChangedRelease(t *testing.T) {
	for what, change := range map[string]func(*guarded){
		"a newer revision":                        func(g *guarded) { g.revisions = append([]revisionMeta{{number: 6, uid: "uid-6"}}, g.revisions...) },
		"the same number in another installation": func(g *guarded) { g.revisions[0].uid = "uid-of-another-installation" },
		"an older revision: the newest is gone":   func(g *guarded) { g.revisions = g.revisions[1:] },
		"another client creates the next revision first": func(g *guarded) {
			_ = g.memory.Create(objectName("web", 6), aRelease(6, release.StatusPendingUpgrade))
		},
	} {
		t.Run(what, func(t *testing.T) {
			g := newGuarded(t)
			change(g)
			before := g.statuses(t)
			if err := g.rollBack(); !errors.Is(err, rollback.ErrRevisionChanged) {
				t.Errorf("the release is at another revision: got %v", err)
			}
			if got := g.statuses(t); !slices.Equal(got, before) {
				t.Errorf("nothing is written: got %v, had %v", got, before)
			}
		})
	}
}

func TestGuardCreate(t *testing.T) {
	for what, c := range map[string]struct {
		number int
		change func(*guarded)
		want   error
	}{
		"the planned revision":                        {6, func(*guarded) {}, nil},
		"a later revision":                            {7, func(*guarded) {}, rollback.ErrRevisionChanged},
		"the suspect revision itself":                 {5, func(*guarded) {}, rollback.ErrRevisionChanged},
		"the planned one, and the newest has changed": {6, func(g *guarded) { g.revisions[0].number = 6 }, rollback.ErrRevisionChanged},
		"the planned one, in another installation":    {6, func(g *guarded) { g.revisions[0].uid = "uid-of-another-installation" }, rollback.ErrRevisionChanged},
		"the planned one, and it exists": {6, func(g *guarded) {
			_ = g.memory.Create(objectName("web", 6), aRelease(6, release.StatusPendingUpgrade))
		}, rollback.ErrRevisionChanged},
	} {
		g := newGuarded(t)
		c.change(g)
		before := len(g.statuses(t))
		err := g.Create(objectName("web", c.number), aRelease(c.number, release.StatusPendingRollback))
		if !errors.Is(err, c.want) {
			t.Errorf("%s: want %v, got %v", what, c.want, err)
		}
		if made := len(g.statuses(t)) - before; (made == 1) != (c.want == nil) {
			t.Errorf("%s: only the planned revision is created: got %d", what, made)
		}
	}
}

func TestGuardQuery(t *testing.T) {
	g := newGuarded(t)
	found, err := g.Query(map[string]string{"name": "web", "owner": "helm"})
	if err != nil || len(found) != 2 || found[0].Version != 2 || found[1].Version != 5 {
		t.Errorf("Helm gets only the target and the suspect revision: got %v, %v", found, err)
	}
	noAnswer := errors.New("the API server does not answer")
	g.err = noAnswer
	if _, err := g.Query(map[string]string{"name": "web", "owner": "helm"}); !errors.Is(err, noAnswer) {
		t.Errorf("the guard refuses what it cannot check: got %v", err)
	}
	if err := g.Create(objectName("web", 6), aRelease(6, release.StatusPendingRollback)); !errors.Is(err, noAnswer) {
		t.Errorf("the guard refuses what it cannot check: got %v", err)
	}
	if n := len(g.statuses(t)); n != 5 {
		t.Errorf("the guard refuses what it cannot check: got %d revisions", n)
	}
}

func TestGuardRefuses(t *testing.T) {
	g := newGuarded(t)
	if _, err := g.Delete(objectName("web", 1)); err == nil {
		t.Error("a rollback deletes no stored revision")
	}
	if _, err := g.List(func(*release.Release) bool { return true }); err == nil {
		t.Error("a rollback lists no other release")
	}
	if n := len(g.statuses(t)); n != 5 {
		t.Errorf("nothing is deleted: got %d revisions", n)
	}
}

func TestGuardKeepsTheRevisionOfAnotherClient(t *testing.T) {
	g := newGuarded(t)
	const theirs = 7
	if err := g.memory.Create(objectName("web", theirs), aRelease(theirs, release.StatusDeployed)); err != nil {
		t.Fatal(err)
	}
	before := g.statuses(t)
	err := g.Update(objectName("web", theirs), aRelease(theirs, release.StatusSuperseded))
	if !errors.Is(err, rollback.ErrRevisionChanged) || !slices.Equal(g.statuses(t), before) {
		t.Errorf("a revision that another client created meanwhile stays: got %v, %v; had %v", err, g.statuses(t), before)
	}
}

// TestGuardAfterAnInterruption: the live objects are between the suspect revision and the
// target, and Helm gets a manifest that says so.
func TestGuardAfterAnInterruption(t *testing.T) {
	object := func(name, value string) string {
		return "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: " + name + "}\ndata: {v: " + value + "}\n"
	}
	g := interrupted(t)
	for number, manifest := range map[int]string{
		5: object("both", "suspect") + object("suspect", "suspect"),
		2: object("both", "target") + object("target", "target"),
		6: object("both", "attempt") + object("attempt", "attempt"),
	} {
		stored, err := g.memory.Get(objectName("web", number))
		if err != nil {
			t.Fatal(err)
		}
		stored.Manifest = manifest
	}
	found, err := g.Query(map[string]string{"name": "web", "owner": "helm"})
	if err != nil || len(found) != 2 || found[0].Version != 2 || found[1].Version != 6 {
		t.Fatalf("Helm gets the target and the newest revision: got %v, %v", found, err)
	}
	live, err := decodeManifest(found[1].Manifest)
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]any)
	for _, o := range live {
		got[o["metadata"].(map[string]any)["name"].(string)] = o["data"].(map[string]any)["v"]
	}
	want := map[string]any{"both": "suspect", "suspect": "suspect", "attempt": "attempt", "target": "target"}
	if !maps.Equal(got, want) {
		t.Errorf("the suspect revision's objects may be live, and those that only the attempt or the target declares: got %v", got)
	}
	if stored, _ := g.memory.Get(objectName("web", 6)); strings.Contains(stored.Manifest, "suspect") {
		t.Error("the manifest that Helm gets is not the stored one")
	}

	if err := g.rollBack(); err != nil {
		t.Fatal(err)
	}
	statuses := []release.Status{"superseded", "superseded", "superseded", "superseded", "superseded", "failed", "deployed"}
	if got := g.statuses(t); !slices.Equal(got, statuses) {
		t.Errorf("the next revision is created; the attempt stays failed, where Helm would mark it superseded: got %v", got)
	}
	if stored, _ := g.memory.Get(objectName("web", 6)); strings.Contains(stored.Manifest, "suspect") {
		t.Error("the manifest that Helm got is not written back")
	}
}

func TestGuardRecognizesBackoutsAttempts(t *testing.T) {
	for what, c := range map[string]struct {
		change func(*guarded)
		want   error
	}{
		"the attempt has no claim":                   {func(g *guarded) { g.revisions[0].claim = "" }, rollback.ErrRevisionChanged},
		"the attempt has another claim":              {func(g *guarded) { g.revisions[0].claim = "uid-4" }, rollback.ErrRevisionChanged},
		"the suspect revision is gone":               {func(g *guarded) { g.revisions = g.revisions[:1] }, rollback.ErrRevisionChanged},
		"the suspect one is of another installation": {func(g *guarded) { g.revisions[1].uid = "uid-of-another-installation" }, rollback.ErrRevisionChanged},
		"the attempt was not recovered":              {func(g *guarded) { g.revisions[0].status = rollback.StatusPendingRollback }, errPending},
		"there is another attempt": {func(g *guarded) {
			g.revisions = append([]revisionMeta{{number: 7, uid: "uid-7", claim: "uid-5"}}, g.revisions...)
		}, rollback.ErrRevisionChanged},
	} {
		t.Run(what, func(t *testing.T) {
			g := interrupted(t)
			c.change(g)
			before := g.statuses(t)
			if err := g.rollBack(); !errors.Is(err, c.want) {
				t.Errorf("want %v, got %v", c.want, err)
			}
			if got := g.statuses(t); !slices.Equal(got, before) {
				t.Errorf("nothing is written: got %v, had %v", got, before)
			}
		})
	}
}

// TestGuardAfterAFailure: Helm supersedes the newest revision even if the rollback failed.
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
		t.Errorf("the deployed revision stays deployed, because nothing replaced it: got %v", got)
	}
}

func TestGuardSupersedesBeforeItDeploys(t *testing.T) {
	g := newGuarded(t)
	if err := g.Create(objectName("web", 6), aRelease(6, release.StatusPendingRollback)); err != nil {
		t.Fatal(err)
	}
	for _, u := range []struct {
		number     int
		status     release.Status
		refused    bool
		superseded []int
	}{
		{5, release.StatusFailed, true, nil},
		{5, release.StatusSuperseded, false, nil},
		{6, release.StatusPendingRollback, false, nil},
		{6, release.StatusDeployed, false, []int{5}},
	} {
		err := g.Update(objectName("web", u.number), aRelease(u.number, u.status))
		if (err != nil) != u.refused || !slices.Equal(g.superseded, u.superseded) {
			t.Errorf("after the update of revision %d to %s, %v are superseded: got %v, %v", u.number, u.status, u.superseded, g.superseded, err)
		}
	}
}
