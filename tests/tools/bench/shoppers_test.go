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
	"github.com/upcommerce/backout/tests/env/stage"
)

// The shoppers' requests per second, and the number of sheds.
const (
	shoppersPerSecond = 50
	shedCount         = 100
	// between is how long each weight stays.
	between = 60 * time.Millisecond
)

// BenchmarkShoppers sheds the canary a hundred times through the webhook under load, and
// restores the weight in between, as an operator would. It fails if a request fails.
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
	shopping, leave := context.WithCancel(ctx)
	defer leave()
	var out sync.WaitGroup
	out.Go(func() { shoppers.Stroll(shopping, shoppersPerSecond) })
	for i := range shedCount {
		if err := s.shedOnce(ctx); err != nil {
			b.Fatalf("shed %d: %v", i+1, err)
		}
	}
	leave()
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
		b.Errorf("no shopper got the canary between the sheds: %v", versions)
	}
	results.note(fmt.Sprintf("%d sheds through the webhook under %d requests/s: %d of %d requests failed.",
		shedCount, shoppersPerSecond, failed, len(shoppers.Visits())))
}

// startIn runs backout for a namespace that exists.
func (s *site) startIn(t testing.TB, namespace string) {
	t.Helper()
	var err error
	if s.backout, err = s.stage.Backout(t.Context(), 0, environment(namespace)); err != nil {
		t.Fatal(err)
	}
	s.sender = newSender(s.backout.WebhookURL())
}

// shedOnce sheds once and restores the weight. It deletes the record, so that the next
// alert is a first one.
func (s *site) shedOnce(ctx context.Context) error {
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
