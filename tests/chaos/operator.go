package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/upcommerce/backout/tests/env/stage"
)

const (
	// touchEvery is the pause of a client that keeps writing an object.
	touchEvery = 5 * time.Millisecond
	// retryLimit is how long an operator repeats helm upgrade while another
	// operation is in progress.
	retryLimit = time.Minute
)

// touch keeps writing the Ingress, but never its weight.
func (r *Run) touch(ctx context.Context, name string, d time.Duration) error {
	for n, end := 0, time.Now().Add(d); time.Now().Before(end); n++ {
		text := fmt.Sprintf(`{"metadata":{"annotations":{"example.com/touched":"%d"}}}`, n)
		_, err := r.stage.Client.NetworkingV1().Ingresses(r.shop.Namespace).Patch(ctx, name, types.MergePatchType, []byte(text), metav1.PatchOptions{})
		if err != nil {
			return fmt.Errorf("touch the route: %w", err)
		}
		if !sleep(ctx, touchEvery) {
			return nil
		}
	}
	return nil
}

// upgrades has an operator upgrade to v4: before each write of a clean run, which
// waits until helm has returned, and at some instants.
func upgrades(c Clean, dice *rand.Rand) []Trial {
	trials := atShares(5, c, dice, Trial{}, func(ctx context.Context, r *Run) error {
		r.operatorStarts()
		r.retryUpgrade(ctx)
		return nil
	})
	for k := range c.Writes {
		m := Moment{Write: k + 1}
		trials = append(trials, Trial{Name: m.String(), Fault: func(ctx context.Context, r *Run) error {
			r.BreakAt(m, func(Write) error {
				r.operatorStarts()
				if r.shop.upgrade(ctx, "v4") != nil {
					// Helm refuses while backout's own rollback is in flight.
					r.faults.Go(func() { r.retryUpgrade(ctx) })
				}
				return nil
			})
			return nil
		}})
	}
	for i := range trials {
		trials[i].End = Upgraded
	}
	return trials
}

// operatorStarted reports whether an operator has begun to change the release.
func (r *Run) operatorStarted() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.operatorSince.IsZero()
}

// operatorStarts stores that from now on an operator changes the release.
func (r *Run) operatorStarts() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.operatorSince = time.Now()
}

// retryUpgrade repeats the upgrade until helm does it.
func (r *Run) retryUpgrade(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, retryLimit)
	defer cancel()
	for {
		err := r.shop.upgrade(ctx, "v4")
		if err == nil {
			return
		}
		if !sleep(ctx, time.Second) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.broken = append(r.broken, Broken{Rule: RuleUpgrade, Err: err})
			return
		}
	}
}

// pair has two Alertmanagers that do not know each other post the same alert, each
// to its own replica, and repeat it.
func pair(Clean, *rand.Rand) []Trial {
	return []Trial{{Name: "to two replicas", Replicas: 2, Fault: func(ctx context.Context, r *Run) error {
		alerts := r.alerts()
		r.Alerts = func(*Run) []alert { return alerts }
		for _, to := range r.replicas {
			for n := range 5 {
				r.After(ctx, time.Duration(n)*300*time.Millisecond, func(ctx context.Context) error {
					return deliver(ctx, alerts, to.Webhook)
				})
			}
		}
		return nil
	}}}
}

// floods post 1,000 alerts in one webhook.
func floods(Clean, *rand.Rand) []Trial {
	const many = 1000
	flood := func(change func(r *Run, labels map[string]string, n int)) func(*Run) []alert {
		return func(r *Run) []alert {
			now := time.Now()
			all := make([]alert, many)
			for n := range all {
				labels := r.labels()
				if n < many-1 { // the last one is the usual one
					change(r, labels, n)
				}
				all[n] = alert{Labels: labels, Starts: now}
			}
			return all
		}
	}
	return []Trial{
		{Name: "about one release", Alerts: flood(func(_ *Run, labels map[string]string, n int) {
			labels["alertname"] = fmt.Sprintf("CanaryErrors%d", n)
		})},
		{Name: "about releases that are unknown or not opted in", Alerts: flood(func(_ *Run, labels map[string]string, n int) {
			labels["release"] = fmt.Sprintf("shop-%d", n)
			if n%2 == 0 {
				labels["namespace"] = "elsewhere"
			}
		})},
	}
}

// goneTag is a tag that no registry has.
const goneTag = "gone"

// unready are targets whose pods cannot become ready.
func unready(Clean, *rand.Rand) []Trial {
	return []Trial{
		{Name: "they never say that they are", Target: values("v2", "config.canary.env.FAULT_NEVER_READY=true"), End: Waiting},
		{Name: "their image is gone", Target: values(goneTag), End: Waiting},
	}
}

// GoneImage is the image that the sandbox must not be able to pull.
func GoneImage() string { return stage.StorefrontImage + ":" + goneTag }

// clocks sets a clock wrong: Prometheus', or that of the machine that ran Helm.
func clocks(Clean, *rand.Rand) []Trial {
	var trials []Trial
	for _, by := range []time.Duration{-time.Minute, time.Minute} {
		alerts := func(r *Run) []alert {
			a := r.alerts()
			a[0].Starts = a[0].Starts.Add(by)
			return a
		}
		trials = append(trials,
			Trial{Name: fmt.Sprintf("Prometheus' by %s", by), Alerts: alerts},
			Trial{Name: fmt.Sprintf("Prometheus' by %s, and no version", by), Repeats: true, Alerts: func(r *Run) []alert {
				a := alerts(r)
				delete(a[0].Labels, "version")
				return a
			}},
			Trial{Name: fmt.Sprintf("Helm's by %s", by), Fault: func(ctx context.Context, r *Run) error {
				r.happen()
				return shift(ctx, r.stage.Client, r.shop.Namespace, "sh.helm.release.v1."+stage.Release+".v2", by)
			}},
		)
	}
	return trials
}
