package rollback_test

import (
	"strings"
	"testing"
	"time"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/rollbacktest"
)

// TestTargetWhateverTheDescription: a description is a failure's only in Helm's own forms;
// `helm upgrade --description` has the subject of a commit.
func TestTargetWhateverTheDescription(t *testing.T) {
	for description, want := range map[string]int{
		"Retry failed payments (#123)":                   2,
		`Upgrade of "shop" after the one that failed: x`: 2,
		"Upgrade failed: see SHOP-812":                   2,
		`Upgrade "a" because "b" failed: see SHOP-812`:   2,
		"Rollback of the price change":                   2,
		"Upgrade complete":                               2,
		"":                                               2,
		`Upgrade "shop" failed: timed out waiting`:       1,
		`Release "shop" failed: context canceled`:        1,
		`Rollback "shop" failed: no such kind`:           1,
		"Preparing upgrade":                              1, // Helm died, and a later rollback failed
		"Initial install underway":                       1,
	} {
		h := rollback.History{
			{Number: 3, UID: "3", Status: rollback.StatusDeployed, Content: "c4", Chart: "x"},
			{Number: 2, UID: "2", Status: rollback.StatusSuperseded, Content: "c3", Chart: "x", Description: description},
			{Number: 1, UID: "1", Status: rollback.StatusSuperseded, Content: "c2", Chart: "x"},
		}
		if got, candidates, ok := rollback.Target(h, nil); !ok || got.Number != want {
			t.Errorf("%q: want revision %d, got %d, %+v", description, want, got.Number, candidates)
		}
	}
}

// promotion is a canary of v2, its ramp, and its promotion: revision 4 has no canary, and
// its stable track runs the pods of v2.
func promotion() rollback.History {
	now := rollbacktest.Now()
	return rollback.History{
		{Number: 4, UID: "4", Status: rollback.StatusDeployed, Content: "p2", Chart: "x", Pods: []string{"v2", "redis"}, Images: []string{"redis:8", "shop:v2"}, Deployed: now.Add(-8 * time.Minute)},
		{Number: 3, UID: "3", Status: rollback.StatusSuperseded, Content: "c2", Chart: "x", Canary: "Deployment shop-canary: ...", Pods: []string{"v2"}, Images: []string{"shop:v2"}, Deployed: now.Add(-time.Hour)},
		{Number: 2, UID: "2", Status: rollback.StatusSuperseded, Content: "p1", Chart: "x", Pods: []string{"v1", "redis"}, Images: []string{"redis:8", "shop:v1"}, Deployed: now.Add(-9 * time.Hour)},
	}
}

func TestTargetOfAPromotedCanary(t *testing.T) {
	h := promotion()
	got, candidates, ok := rollback.Target(h, nil)
	if !ok || got.Number != 2 || candidates[0].Reason != "its canary runs the pods of revision 4" {
		t.Errorf("a revision whose canary runs the pods of the suspect is no way back: got %d, %+v", got.Number, candidates)
	}
	c := rollback.Case{
		Key: rollbacktest.Shop(), Policy: rollbacktest.Policy(), Now: rollbacktest.Now(), History: h[:2],
		Signals: []rollback.Signal{{Alert: "A", Level: rollback.LevelRollback, Fingerprint: "f", StartsAt: h[0].Deployed, LastSeen: rollbacktest.Now()}},
	}
	if d := rollback.Decide(c); d.Verdict != rollback.Act || d.Target != 3 || !d.Rollback || !d.Hold ||
		!strings.HasSuffix(d.Reason, "; the canary of revision 3 runs the pods of revision 4, and has to stay at zero") {
		t.Errorf("without another revision it is the target, with its canary held at zero, and the team learns why: got %+v", d)
	}
	if d := rollback.Decide(c); d.SameImages {
		t.Errorf("the stable track of revision 3 runs other images: got %+v", d)
	}
	h[0].Canary = "Deployment shop-canary: ..."
	if got, _, _ := rollback.Target(h, nil); got.Number != 3 {
		t.Errorf("between two canaries, contents alone decide: got %d", got.Number)
	}
}

// TestTargetWithTheSameImages: the way back from another environment variable is to the
// revision before, and the decision says what that one runs.
func TestTargetWithTheSameImages(t *testing.T) {
	now := rollbacktest.Now()
	revision := func(number int, age time.Duration, content, image string) rollback.Revision {
		return rollback.Revision{
			Number: number, UID: string(rune('0' + number)), Status: rollback.StatusSuperseded, Content: content, Chart: "x", Deployed: now.Add(-age),
			Canary: "Deployment shop-canary: its pods have the label track=canary", Images: []string{image},
		}
	}
	c := rollback.Case{
		Key: rollbacktest.Shop(), Policy: rollbacktest.Policy(), Now: now,
		History: rollback.History{revision(3, 10*time.Minute, "v3, red", "shop:v3"), revision(2, 26*time.Hour, "v3, blue", "shop:v3"), revision(1, 50*time.Hour, "v2", "shop:v2")},
		Signals: []rollback.Signal{{Alert: "A", Level: rollback.LevelRollback, Fingerprint: "f", StartsAt: now.Add(-time.Minute), Received: now, LastSeen: now}},
	}
	d, trace := rollback.DecideWithTrace(c)
	if d.Target != 2 || !d.SameImages || !strings.HasSuffix(d.Reason, "; the canary of revision 2 runs the same images") {
		t.Errorf("the decision says that the target runs the same images: got %+v", d)
	}
	if r := rollback.NewRecord(c.Key, c.History[0], nil, now); r.Canary != c.History[0].Canary {
		t.Errorf("the record names what is taken for the canary, and why: got %q", r.Canary)
	}
	if found := trace.Checks[len(trace.Checks)-1].Result; !strings.Contains(found, "same images") {
		t.Errorf("so does the trace: got %q", found)
	}
	c.Policy.Bake = time.Minute
	if d := rollback.Decide(c); d.Verdict != rollback.Baked || !strings.HasSuffix(d.Reason, "; the canary of revision 2 runs the same images") {
		t.Errorf("the command of a hold leads there, too: got %+v", d)
	}
	c.History[0].Images = []string{"shop:v4"}
	if d := rollback.Decide(c); d.SameImages || strings.Contains(d.Reason, "images") {
		t.Errorf("other images are no news: got %+v", d)
	}
}
