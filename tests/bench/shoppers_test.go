package bench

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/tests/stage"
)

// What the shoppers go through.
const (
	shoppersPerSecond = 50
	disturbances      = 100
	// between is how long the shoppers see each weight.
	between = 60 * time.Millisecond
)

// BenchmarkShoppers sheds the canary a hundred times through the webhook while
// shoppers go on, and gives the weight back in between, as a person would. It counts
// the requests that fail; one that does fails the run.
func BenchmarkShoppers(b *testing.B) {
	s := open(b)
	ctx := b.Context()
	if err := s.stage.Install(ctx, stage.Release, stage.Canary("v2", "green", 20)...); err != nil {
		b.Fatal(err)
	}
	s.startIn(b, stage.Namespace)
	if err := s.stage.AwaitRollout(ctx); err != nil {
		b.Fatal(err)
	}
	shoppers := s.stage.Shoppers()
	if err := shoppers.AwaitOpen(ctx, "v1", "v2"); err != nil {
		b.Fatal(err)
	}
	strolling, home := context.WithCancel(ctx)
	defer home()
	var out sync.WaitGroup
	out.Go(func() { shoppers.Stroll(strolling, shoppersPerSecond) })
	for i := range disturbances {
		if err := s.disturb(ctx); err != nil {
			b.Fatalf("shed %d: %v", i+1, err)
		}
	}
	home()
	out.Wait()
	failed, versions := 0, map[string]int{}
	for _, v := range shoppers.Visits() {
		versions[v.Version]++
		if v.Failed() {
			failed++
			b.Errorf("a shopper's request failed: %s", v)
		}
	}
	if versions["v2"] == 0 {
		b.Errorf("no shopper got the canary in between: %v", versions)
	}
	results.note(fmt.Sprintf("%d sheds through the webhook while %d requests/s came in: %d of %d requests failed.",
		disturbances, shoppersPerSecond, failed, len(shoppers.Visits())))
}

// startIn runs backout for a namespace that is there.
func (s *site) startIn(t testing.TB, namespace string) {
	t.Helper()
	var err error
	if s.backout, err = s.stage.Backout(t.Context(), 0, environment(namespace)); err != nil {
		t.Fatal(err)
	}
	s.sender = newSender(s.backout.WebhookURL())
}

// disturb sheds once and gives the weight back. With its record gone, the next alert
// is the first one.
func (s *site) disturb(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	k := rollback.Key{Namespace: stage.Namespace, Release: stage.Release}
	ingresses := s.client.NetworkingV1().Ingresses(k.Namespace)
	events, err := ingresses.Watch(ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + stage.CanaryIngress})
	if err != nil {
		return err
	}
	defer events.Stop()
	if _, err := s.sender.stored(ctx, labels(k, rollback.LevelShed, map[string]string{"version": "v2"})); err != nil {
		return err
	}
	for shed := false; !shed; {
		select {
		case event := <-events.ResultChan():
			ingress, ok := event.Object.(*networkingv1.Ingress)
			shed = ok && ingress.Annotations[stage.WeightAnnotation] == "0"
		case <-ctx.Done():
			return fmt.Errorf("wait for weight zero: %w", ctx.Err())
		}
	}
	pause(ctx, between)
	if err := s.forget(ctx, k); err != nil {
		return err
	}
	if _, err := ingresses.Patch(ctx, stage.CanaryIngress, types.MergePatchType,
		[]byte(`{"metadata":{"annotations":{"`+stage.WeightAnnotation+`":"20","backout.dev/held-weight":null}}}`), metav1.PatchOptions{}); err != nil {
		return err
	}
	pause(ctx, between)
	return nil
}
