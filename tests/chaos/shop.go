package chaos

import (
	"context"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/upcommerce/backout/tests/env/stage"
)

const (
	// percent is the canary's share in every revision but the last.
	percent = 20
	// perSecond is how many requests a shop's shoppers send.
	perSecond = 20
	// bad is the share of its requests that the bad canary fails.
	bad = 0.5
)

// values are Helm's for a canary with that tag. One stable pod will do.
func values(tag string, more ...string) []string {
	fast := []string{":replicaCount=1", ":probes.readiness.periodSeconds=1"}
	return append(append(fast, stage.Canary(tag, "green", percent)...), more...)
}

// Shop is the storefront of one trial: revision 1 with the target canary, revision
// 2 with the bad one.
type Shop struct {
	stage.Place

	shoppers *stage.Shoppers
}

// newShop returns a shop that is not open yet.
func newShop(place stage.Place) *Shop { return &Shop{Place: place, shoppers: place.Shoppers()} }

// open installs both revisions and waits until v1 and the bad v3 serve.
func (s *Shop) open(ctx context.Context, target []string) error {
	for _, revision := range [][]string{target, values("v3", stage.Failing(bad))} {
		if err := s.Install(ctx, stage.Release, revision...); err != nil {
			return err
		}
	}
	if err := s.AwaitRollout(ctx); err != nil {
		return err
	}
	return s.shoppers.AwaitOpen(ctx, "v1", "v3")
}

// upgrade is an operator's helm upgrade to a good canary of that tag.
func (s *Shop) upgrade(ctx context.Context, tag string) error {
	if err := s.Install(ctx, stage.Release, values(tag)...); err != nil {
		return fmt.Errorf("helm upgrade to %s: %w", tag, err)
	}
	return nil
}

// close removes the pods, which would use the processor for the trials to come.
func (s *Shop) close(ctx context.Context, client kubernetes.Interface) error {
	background := metav1.DeletePropagationBackground
	err := client.AppsV1().Deployments(s.Namespace).DeleteCollection(ctx,
		metav1.DeleteOptions{PropagationPolicy: &background}, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("close the shop: %w", err)
	}
	return nil
}
