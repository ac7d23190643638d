// Package story follows one bad canary: from its first failed request, through the
// writes that the API server commits, until backout has verified whether the rollback
// helped. It uses only what any client of the cluster can see.
package story

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	promv1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/ledger"
	"github.com/upcommerce/backout/rollback/report"
	"github.com/upcommerce/backout/tests/env/stage"
)

// Canary is the bad canary that is followed.
type Canary struct {
	Key rollback.Key
	// Revision is the Helm revision that introduced it.
	Revision int

	Client   kubernetes.Interface
	Timeline *stage.Timeline
	// Shoppers make the visits that count.
	Shoppers *stage.Shoppers
	// Bad reports whether a visit was bad because of the canary; nil: if it failed.
	Bad func(stage.Visit) bool
	// Alerts queries Prometheus for its alerts; nil: it is not queried.
	Alerts func(ctx context.Context) ([]promv1.Alert, error)
	// Lag is how long the router may take to follow a weight; 0: a second.
	Lag time.Duration
	// Until is the kind of the last moment to wait for; "": SawVerified.
	Until string
	// Out receives each moment as it happens, and a line now and then while Follow waits.
	Out io.Writer

	// Moments are those seen so far.
	Moments Moments
}

// How often Follow polls what it cannot watch: the visits and Prometheus, the outcome in
// the record; and after how long it prints again that it waits.
const (
	pollInterval    = 200 * time.Millisecond
	outcomeInterval = time.Second
	waitingInterval = 5 * time.Second
)

// Follow stores and prints each moment until the last one to wait for. It returns an
// error that wraps ctx's if ctx ends before that.
func (c *Canary) Follow(ctx context.Context) error {
	if c.Until == "" {
		c.Until = SawVerified
	}
	poll, outcome, waiting := time.NewTicker(pollInterval), time.NewTicker(outcomeInterval), time.NewTicker(waitingInterval)
	defer poll.Stop()
	defer outcome.Stop()
	defer waiting.Stop()
	for seen := 0; ; {
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: not everything happened in time: %w", c.next(), ctx.Err())
		case <-waiting.C:
			c.printWaiting()
		case <-outcome.C:
			if err := c.checkOutcome(ctx); err != nil {
				return err
			}
		case <-poll.C:
		}
		c.checkVisits()
		c.checkPrometheus(ctx)
		events := c.Timeline.Events()
		for _, e := range events[seen:] {
			if err := c.see(ctx, e); err != nil {
				return err
			}
		}
		seen = len(events)
		if c.over() {
			return nil
		}
	}
}

// over reports whether the last moment to wait for was seen, and the rollback too:
// events of different watches arrive in any order.
func (c *Canary) over() bool {
	_, ended := c.Moments.First(c.Until)
	_, rolledBack := c.Moments.First(SawRolledBack)
	return ended && rolledBack
}

// Record returns the record about the canary's revision.
func (c *Canary) Record(ctx context.Context) (rollback.Record, error) {
	r, ok, err := ledger.New(ledger.Options{Client: c.Client}).Record(ctx, c.Key, c.Revision)
	if err == nil && !ok {
		err = fmt.Errorf("backout has no record about revision %d of %s", c.Revision, c.Key)
	}
	return r, err
}

// BadVisits returns the visits that were bad because of the canary, in the order of
// sending.
func (c *Canary) BadVisits() []stage.Visit {
	bad := c.Bad
	if bad == nil {
		bad = stage.Visit.Failed
	}
	return slices.DeleteFunc(c.Shoppers.Visits(), func(v stage.Visit) bool { return !bad(v) })
}

// AddLastBad adds the last bad visit as a moment, with the number of bad visits.
func (c *Canary) AddLastBad() {
	bad := c.BadVisits()
	if len(bad) == 0 {
		return
	}
	last := bad[len(bad)-1]
	c.add(Moment{SawLastBad, fmt.Sprintf("of %d that were bad, out of %d", len(bad), len(c.Shoppers.Visits())), last.At})
}

// checkOutcome adds the outcome once backout has verified the rollback.
func (c *Canary) checkOutcome(ctx context.Context) error {
	_, restored := c.Moments.First(SawRestored)
	if _, verified := c.Moments.First(SawVerified); verified || !restored {
		return nil
	}
	record, err := c.Record(ctx)
	if err != nil {
		return err
	}
	if record.Outcome != "" {
		c.add(Moment{SawVerified, fmt.Sprintf("%s: %s", record.Outcome, record.Verify.Note), record.Verify.Done})
	}
	return nil
}

// checkVisits adds the first bad visit.
func (c *Canary) checkVisits() {
	if _, known := c.Moments.First(SawBad); known {
		return
	}
	if bad := c.BadVisits(); len(bad) > 0 {
		c.add(Moment{SawBad, "a shopper got " + bad[0].String(), bad[0].At})
	}
}

// checkPrometheus adds the time since which the alert is active, if the alert is pending
// before it fires.
func (c *Canary) checkPrometheus(ctx context.Context) {
	if _, known := c.Moments.First(SawPending); known || c.Alerts == nil {
		return
	}
	alerts, err := c.Alerts(ctx)
	if err != nil {
		return // the next poll queries again
	}
	for _, a := range alerts {
		ours := string(a.Labels["namespace"]) == c.Key.Namespace && string(a.Labels["release"]) == c.Key.Release
		if ours && a.State == promv1.AlertStatePending {
			c.add(Moment{SawPending, string(a.Labels["alertname"]), a.ActiveAt})
			return
		}
	}
}

// see adds what the API server committed.
func (c *Canary) see(ctx context.Context, e stage.Event) error {
	switch {
	case e.Kind == stage.SawRecord && e.Name == ledger.Name(c.Key.Release, c.Revision):
		record, err := c.Record(ctx)
		if err != nil {
			return err
		}
		signal := record.Signals[0]
		c.add(Moment{SawFiring, signal.Alert + ": " + signal.Summary, signal.StartsAt})
		c.add(Moment{SawWebhook, "Alertmanager's post reached backout", signal.Received})
		c.add(Moment{SawRecord, "ConfigMap " + e.Name, e.At})
	case e.Kind == stage.SawWeight && e.Value == "0":
		c.add(Moment{SawZero, e.Object + " " + e.Name + " at the API server", e.At})
	case e.Kind == stage.SawWeight:
		if _, shed := c.Moments.First(SawZero); shed {
			c.add(Moment{SawRestored, fmt.Sprintf("the pods are ready; %s %s has its weight of %s again", e.Object, e.Name, e.Value), e.At})
		}
	case e.Kind == stage.SawRevision && c.isRollback(e.Value):
		c.add(Moment{SawRolledBack, "Helm revision " + e.Value, e.At})
	}
	return nil
}

// isRollback reports whether a revision and its status are those of the rollback. It is the
// next revision, or a later one if backout was interrupted and rolled back again.
func (c *Canary) isRollback(value string) bool {
	var revision int
	var status string
	_, err := fmt.Sscan(value, &revision, &status)
	return err == nil && revision > c.Revision && status == "deployed"
}

func (c *Canary) add(m Moment) {
	c.Moments = append(c.Moments, m)
	if c.Out != nil {
		fmt.Fprintf(c.Out, "  %s  %-18s %s\n", c.Moments.since(m), m.Kind, m.Text)
	}
}

// next describes what Follow waits for.
func (c *Canary) next() string {
	if n := len(c.Moments); n > 0 {
		return "the moment after: " + c.Moments[n-1].Kind
	}
	return "the first bad request"
}

func (c *Canary) printWaiting() {
	if c.Out != nil {
		fmt.Fprintf(c.Out, "  %9s  waiting for %s; %d requests so far\n", "", c.next(), len(c.Shoppers.Visits()))
	}
}

// Check returns the rules that the story broke, joined: the weight was zero before the
// rollback was done, only the canary's own requests failed, no request reached it when the
// router's lag after that was over, and the record contains a rollback to the target that
// helped.
func (c *Canary) Check(ctx context.Context, target int) error {
	var errs []error
	zero, shed := c.Moments.First(SawZero)
	made, rolledBack := c.Moments.First(SawRolledBack)
	if !shed || !rolledBack || made.At.Before(zero.At) {
		errs = append(errs, errors.New("the canary's weight was not zero before the rollback was done"))
	}
	lag := cmp.Or(c.Lag, time.Second)
	for _, v := range c.Shoppers.Visits() {
		switch {
		case !v.Failed():
		case v.Backend != "" && v.Backend != stage.CanaryService:
			errs = append(errs, fmt.Errorf("a request failed that did not go to the bad canary: %s", v))
		case shed && v.At.After(zero.At.Add(lag)):
			errs = append(errs, fmt.Errorf("a request reached the bad canary more than %s after its weight was zero: %s", lag, v))
		}
	}
	r, err := c.Record(ctx)
	if err != nil {
		return errors.Join(append(errs, err)...)
	}
	if !r.Rollback.Succeeded() || r.Target != target || !r.Restore.Succeeded() {
		errs = append(errs, fmt.Errorf("the record contains no finished rollback to revision %d: %s", target, report.Summary(&r)))
	}
	if r.Outcome != rollback.OutcomeRecovered {
		errs = append(errs, fmt.Errorf("the outcome is %q, want %q: %s", r.Outcome, rollback.OutcomeRecovered, report.Summary(&r)))
	}
	return errors.Join(errs...)
}
