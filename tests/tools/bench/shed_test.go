package bench

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/tests/env/stage"
)

// The number of measured sheds, and the alerts per second during the busy ones.
const (
	idleSheds = 150
	busySheds = 100
	perSecond = 100
)

// shedSpace is the namespace of the releases that are shed, one after the other.
const shedSpace = "shop"

// refusedSpace is not opted in.
const refusedSpace = "elsewhere"

// breath is the pause between two measurements.
const breath = 30 * time.Millisecond

// BenchmarkShed measures the time from the post of the webhook until a watch on the
// Ingresses reports the weight zero, and with the same watch the time of one bare PATCH of
// the same Ingress. Each release is new and is used once.
func BenchmarkShed(b *testing.B) {
	s := open(b)
	s.start(b, append(crowdSpaceNames(), shedSpace)...)
	seen, err := s.watch(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	if _, _, err := s.shed(b.Context(), seen, "warm-up"); err != nil {
		b.Fatal(err)
	}
	b.Run("idle", func(b *testing.B) {
		for b.Loop() {
			bare, ours := s.sheds(b, seen, idleSheds)
			compare(b, "webhook to weight zero, idle", bare, ours, goal{ratio: 3, p99: 50 * time.Millisecond})
		}
	})
	b.Run("busy", func(b *testing.B) {
		if err := s.gather(0, crowd); err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			ctx, home := context.WithCancel(b.Context())
			var load load
			var others sync.WaitGroup
			others.Go(func() { load.post(ctx, s.sender) })
			pause(ctx, 2*time.Second)
			bare, ours := s.sheds(b, seen, busySheds)
			home()
			others.Wait()
			compare(b, fmt.Sprintf("webhook to weight zero, %d releases, %d alerts/s", crowd, perSecond), bare, ours, goal{ratio: 3})
			b.ReportMetric(float64(load.refused.Load()), "not-stored")
			results.note(fmt.Sprintf("%d other alerts were posted during the sheds; %d of them were not answered 200.", load.posted.Load(), load.refused.Load()))
		}
	})
}

// sheds measures n sheds.
func (s *site) sheds(b *testing.B, seen *weights, n int) (bare, ours samples) {
	b.Helper()
	for i := range n {
		one, other, err := s.shed(b.Context(), seen, fmt.Sprintf("shop-%d", i))
		if err != nil {
			b.Fatal(err)
		}
		bare, ours = append(bare, one), append(ours, other)
	}
	return bare, ours
}

// shed measures one shed of a new release: the bare PATCH, and after the weight is
// restored, backout's.
func (s *site) shed(ctx context.Context, seen *weights, name string) (bare, ours time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	k := rollback.Key{Namespace: shedSpace, Release: name}
	if err := s.history(k, 2); err != nil {
		return 0, 0, err
	}
	if err := s.route(ctx, k); err != nil {
		return 0, 0, err
	}
	ingress := name + "-canary"
	if _, err := seen.await(ctx, ingress, percent); err != nil {
		return 0, 0, err
	}
	patch := func(weight string) (time.Duration, error) {
		pause(ctx, breath)
		began := time.Now()
		if _, err := s.client.NetworkingV1().Ingresses(k.Namespace).Patch(ctx, ingress, types.MergePatchType,
			weightPatch(weight), metav1.PatchOptions{FieldManager: "bench"}); err != nil {
			return 0, err
		}
		at, err := seen.await(ctx, ingress, weight)
		return at.Sub(began), err
	}
	if bare, err = patch("0"); err != nil {
		return 0, 0, err
	}
	if _, err := patch(percent); err != nil {
		return 0, 0, err
	}
	pause(ctx, breath)
	began := time.Now()
	code, err := s.sender.post(ctx, labels(k, rollback.LevelShed, version(2)))
	if err == nil && code != http.StatusOK {
		err = fmt.Errorf("the webhook answered %d", code)
	}
	if err != nil {
		return 0, 0, err
	}
	at, err := seen.await(ctx, ingress, "0")
	if err != nil {
		return 0, 0, fmt.Errorf("wait for the shed of %s: %w", k, err)
	}
	pause(ctx, 2*breath) // backout saves the record
	return bare, at.Sub(began), s.remove(ctx, k)
}

// weights are the weights of the canaries' Ingresses that a watch has reported.
type weights struct{ news chan observed }

type observed struct {
	name, weight string
	at           time.Time
}

// watch starts the watch; it ends with ctx.
func (s *site) watch(ctx context.Context) (*weights, error) {
	events, err := s.client.NetworkingV1().Ingresses(shedSpace).Watch(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	seen := &weights{news: make(chan observed, 4096)}
	go func() {
		defer events.Stop()
		for event := range events.ResultChan() {
			if ingress, ok := event.Object.(*networkingv1.Ingress); ok {
				seen.news <- observed{ingress.Name, ingress.Annotations[stage.WeightAnnotation], time.Now()}
			}
		}
	}()
	return seen, nil
}

// await returns when the Ingress was first seen with that weight after the last await.
func (w *weights) await(ctx context.Context, name, weight string) (time.Time, error) {
	for {
		select {
		case s := <-w.news:
			if s.name == name && s.weight == weight {
				return s.at, nil
			}
		case <-ctx.Done():
			return time.Time{}, fmt.Errorf("wait for weight %s on Ingress %s: %w", weight, name, ctx.Err())
		}
	}
}

// load counts alerts that lead to no action: every other one is about a release that is not
// opted in, the others are about another revision of the crowd's releases.
type load struct{ posted, refused atomic.Int64 }

// post posts perSecond alerts per second until ctx ends, and returns when all are answered.
func (l *load) post(ctx context.Context, to sender) {
	tick := time.NewTicker(time.Second / perSecond)
	defer tick.Stop()
	var out sync.WaitGroup
	defer out.Wait()
	for i := 0; ; i++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		k := crowded(i / 2 % crowd)
		if i%2 == 0 {
			k.Namespace = refusedSpace
		}
		out.Go(func() {
			l.posted.Add(1)
			code, err := to.post(context.WithoutCancel(ctx), labels(k, rollback.LevelRollback, map[string]string{"revision": "7"}))
			if err != nil || code != http.StatusOK {
				l.refused.Add(1)
			}
		})
	}
}
