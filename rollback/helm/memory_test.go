package helm_test

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/upcommerce/backout/rollback"
)

// manyNodes is a manifest of some objects with so many nodes of YAML in all.
func manyNodes(objects, nodes int, value string) string {
	var all strings.Builder
	for i := range objects {
		fmt.Fprintf(&all, "---\napiVersion: shop.example/v1\nkind: Scaler\nmetadata: {name: big%d}\nspec: {rules: [%s]}\n", i, strings.Repeat("{a: "+value+"},", nodes/3/objects))
	}
	return all.String()
}

// TestALargeRollbackFits: the largest revisions that backout reads take no more memory than
// the pod has. The preflight takes most: some 70 MiB. Without the bound of the nodes, that of
// two revisions of 480,000 takes 430 MiB.
func TestALargeRollbackFits(t *testing.T) {
	const most = 140 << 20 // a part of it is the API server's of the test
	c := newCluster(t)
	suspect, target := manyNodes(4, 78_000, "1"), manyNodes(4, 78_000, "2")
	c.both(t, suspect, target)
	c.live(t, suspect)
	plan := c.plan(t, 4)
	var err error
	if taken := peak(func() { _, err = c.Preflight(t.Context(), plan) }); taken > most || err != nil {
		t.Errorf("the preflight takes at most %d MiB: got %d, %v", most>>20, taken>>20, err)
	}
}

// peak returns by how many bytes the heap grows meanwhile.
func peak(run func()) uint64 {
	defer debug.SetGCPercent(debug.SetGCPercent(50))
	runtime.GC()
	sample := func() uint64 {
		s := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
		metrics.Read(s)
		return s[0].Value.Uint64()
	}
	before, most := sample(), uint64(0)
	var done atomic.Bool
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for !done.Load() {
			most = max(most, sample())
			time.Sleep(time.Millisecond)
		}
	}()
	run()
	done.Store(true)
	<-ended
	return most - min(before, most)
}

// TestOneLargeRollbackAtATime: another large one waits, and a small one does not.
func TestOneLargeRollbackAtATime(t *testing.T) {
	c := newCluster(t)
	small := c.plan(t, 2)
	suspect, target := manyNodes(1, 30_000, "1"), manyNodes(1, 30_000, "2")
	c.both(t, suspect, target)
	c.live(t, suspect)
	plan := c.plan(t, 4)
	hangs, goOn := make(chan struct{}), make(chan struct{})
	var once atomic.Bool
	c.before = func(method, object string) int {
		if method+" "+object == "POST secrets/" && once.CompareAndSwap(false, true) {
			close(hangs)
			<-goOn
		}
		return 0
	}
	ended := make(chan error)
	go func() {
		_, err := c.RollBack(context.WithoutCancel(t.Context()), plan)
		ended <- err
	}()
	<-hangs
	if _, err := c.Preflight(t.Context(), small); err != nil {
		t.Errorf("a small preflight does not wait for a large rollback: got %v", err)
	}
	under := small
	under.Failed = []rollback.Revision{small.Newest}
	for what, run := range map[string]func(context.Context) error{
		"preflight below failed upgrades": func(ctx context.Context) error { _, err := c.Preflight(ctx, under); return err },
		"preflight":                       func(ctx context.Context) error { _, err := c.Preflight(ctx, plan); return err },
		"comparison":                      func(ctx context.Context) error { _, err := c.Differences(ctx, plan); return err },
		"rollback":                        func(ctx context.Context) error { _, err := c.RollBack(ctx, plan); return err },
	} {
		limited, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		if err := run(limited); err == nil || !strings.Contains(err.Error(), "another large release") {
			t.Errorf("a large %s waits for the large rollback: got %v", what, err)
		}
		cancel()
	}
	close(goOn)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if _, err := c.Preflight(t.Context(), rollback.Plan{Key: plan.Key, Suspect: plan.Suspect, Newest: plan.Newest, Target: 4, HookTimeout: plan.HookTimeout}); err != nil {
		t.Errorf("the next large one begins when it has ended: got %v", err)
	}
}
