package traffic

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/traffic"
	"github.com/upcommerce/backout/tests/env/sandbox"
	"github.com/upcommerce/backout/tests/env/stage"
)

// The canary's share, the size of a sample, the shoppers' requests per second, and the number of sheds.
const (
	share     = 20 // in percent
	measured  = 500
	perSecond = 100
	sheds     = 100
)

// patience bounds every wait.
const patience = 2 * time.Minute

// TestSplit measures a router's split of the traffic before a shed, after it and after the
// restore. Then it sheds and restores the canary a hundred times under load: no request
// fails.
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
			s.shedUnderLoad(ctx, t)
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
	if weights, err := s.router.Shed(ctx, s.key, s.manifest, nil, nil); err != nil || len(weights) != 1 {
		t.Fatalf("shed: got weights %v, %v", weights, err)
	}
}

func (s shop) restore(ctx context.Context, t *testing.T) {
	t.Helper()
	if weights, err := s.router.Restore(ctx, s.key, s.manifest, nil); err != nil || len(weights) != 1 {
		t.Fatalf("restore: got weights %v, %v", weights, err)
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
	routing, err := s.router.Observe(ctx, s.key, s.manifest, rollback.Stored)
	if err != nil || routing.NoStable != "" || routing.Load != 1.25 || !routing.Open() {
		t.Errorf("observe: %+v, %v; want that the stable pods can take over at 1.25 times the load", routing, err)
	}
	s.shed(ctx, t)
	eventually(ctx, t, "the router uses the weight of zero", func(ctx context.Context) bool {
		return s.shoppers.Split(ctx, 20).Versions["v2"] == 0
	})
	s.splits(ctx, t, "after the shed", 0)
	s.restore(ctx, t)
	if err := s.shoppers.AwaitOpen(ctx, "v1", "v2"); err != nil {
		t.Fatal(err)
	}
	s.splits(ctx, t, "after the restore", share/100.0)
}

// shedUnderLoad sheds and restores while shoppers send requests.
func (s shop) shedUnderLoad(ctx context.Context, t *testing.T) {
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
		s.restore(ctx, t)
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
	t.Logf("%d sheds, median %s; %d requests, %d failed", sheds, took[sheds/2].Round(100*time.Microsecond), len(visits), failed)
}

// pause waits while the shoppers go on.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
