package traffic

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/traffic"
	"github.com/upcommerce/backout/tests/sandbox"
	"github.com/upcommerce/backout/tests/stage"
)

// What the shoppers ask for, and what they may get.
const (
	share     = 20 // the canary's, in percent
	measured  = 500
	perSecond = 100
	sheds     = 100
)

// patience bounds what ends by itself.
const patience = 2 * time.Minute

// TestSplit measures what a router makes of the weights before a shed, after it and
// after the raise, and has shoppers go on while the canary goes out and in a hundred
// times: nobody notices.
func TestSplit(t *testing.T) {
	st := stage.Start(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	if err := st.Sandbox.GatewayAPI(ctx); err != nil {
		t.Fatal(err)
	}
	router, err := traffic.New(traffic.Options{Config: st.Sandbox.RESTConfig()})
	if err != nil {
		t.Fatal(err)
	}
	for namespace, routing := range map[string][]string{
		"annotations": nil,
		"httproute": {
			"routing=gateway", "gateway.parentRefs[0].name=" + sandbox.GatewayName,
			"gateway.parentRefs[0].namespace=" + sandbox.GatewayNamespace, "gateway.hostnames[0]=httproute.localhost",
		},
	} {
		t.Run(namespace, func(t *testing.T) {
			p := st.Place(namespace)
			if err := p.Install(ctx, stage.Release, append(stage.Canary("v2", "green", share), routing...)...); err != nil {
				t.Fatal(err)
			}
			if err := p.AwaitRollout(ctx); err != nil {
				t.Fatal(err)
			}
			text, err := st.Helm(ctx, "get", "manifest", stage.Release, "--namespace", namespace)
			if err != nil {
				t.Fatal(err)
			}
			s := shop{router: router, shoppers: p.Shoppers(), key: rollback.Key{Namespace: namespace, Release: stage.Release}, manifest: decode(t, text)}
			s.measure(ctx, t)
			s.disturb(ctx, t)
		})
	}
}

// shop is a storefront with shoppers.
type shop struct {
	router   *traffic.Router
	shoppers *stage.Shoppers
	key      rollback.Key
	manifest rollback.Manifest
}

func (s shop) shed(ctx context.Context, t *testing.T) {
	t.Helper()
	if told, err := s.router.Shed(ctx, s.key, s.manifest, nil); err != nil || len(told) != 1 {
		t.Fatalf("shed: told %v, %v", told, err)
	}
}

func (s shop) raise(ctx context.Context, t *testing.T) {
	t.Helper()
	if told, err := s.router.Raise(ctx, s.key, s.manifest, nil); err != nil || len(told) != 1 {
		t.Fatalf("raise: told %v, %v", told, err)
	}
}

func (s shop) splits(ctx context.Context, t *testing.T, when string, canary float64) {
	t.Helper()
	split := s.shoppers.Split(ctx, measured)
	t.Logf("%s: %s", when, split)
	if !split.Within("v2", canary) {
		t.Errorf("%s: %s; want v2 to serve %.0f%%, and no failure", when, split, 100*canary)
	}
}

func (s shop) measure(ctx context.Context, t *testing.T) {
	t.Helper()
	if err := s.shoppers.AwaitOpen(ctx, "v1", "v2"); err != nil {
		t.Fatal(err)
	}
	s.splits(ctx, t, "before", share/100.0)
	look, err := s.router.Look(ctx, s.key, s.manifest)
	if err != nil || look.NoStable != "" || look.Load != 1.25 || !look.Open() {
		t.Errorf("a look: %+v, %v; want that the stable pods can take it, at 1.25 times the load", look, err)
	}
	s.shed(ctx, t)
	eventually(ctx, t, "the router has learnt of the zero", func(ctx context.Context) bool {
		return s.shoppers.Split(ctx, 20).Versions["v2"] == 0
	})
	s.splits(ctx, t, "after the shed", 0)
	s.raise(ctx, t)
	if err := s.shoppers.AwaitOpen(ctx, "v1", "v2"); err != nil {
		t.Fatal(err)
	}
	s.splits(ctx, t, "after the raise", share/100.0)
}

// disturb sheds and raises under load.
func (s shop) disturb(ctx context.Context, t *testing.T) {
	t.Helper()
	strolling, home := context.WithCancel(ctx)
	var out sync.WaitGroup
	out.Go(func() { s.shoppers.Stroll(strolling, perSecond) })
	var took []time.Duration
	for range sheds {
		began := time.Now()
		s.shed(ctx, t)
		took = append(took, time.Since(began))
		pause(ctx, 20*time.Millisecond)
		s.raise(ctx, t)
		pause(ctx, 20*time.Millisecond)
	}
	home()
	out.Wait()
	failed, visits := 0, s.shoppers.Visits()
	for _, v := range visits {
		if v.Failed() {
			failed++
			t.Errorf("a shopper's request failed: %s", v)
		}
	}
	slices.Sort(took)
	t.Logf("%d sheds, half of them within %s; %d requests, %d failed", sheds, took[sheds/2].Round(100*time.Microsecond), len(visits), failed)
}

// pause lets the shoppers go on for a while.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
