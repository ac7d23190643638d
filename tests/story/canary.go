// Package story follows one bad canary: from the first request that it spoils,
// through what the API server commits, until backout has judged whether its rollback
// helped. It sees what anybody can see, on any cluster.
package story

import (
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
	"github.com/upcommerce/backout/tests/stage"
)

// Canary is a bad one that is followed.
type Canary struct {
	Key rollback.Key
	// Revision is the one that brought it.
	Revision int

	Client   kubernetes.Interface
	Timeline *stage.Timeline
	// Shoppers are those whose visits count.
	Shoppers *stage.Shoppers
	// Spoiled says which visits it has spoiled; nil: those that failed.
	Spoiled func(stage.Visit) bool
	// Alerts are Prometheus'; nil: nobody is asked.
	Alerts func(ctx context.Context) ([]promv1.Alert, error)
	// Until is the kind of moment that ends the following; "": SawJudged.
	Until string
	// Out is told of each moment as it comes, and of waiting.
	Out io.Writer

	// Moments are what was seen.
	Moments Moments
}

// How often it is looked at what nobody tells of by himself.
const (
	lookInterval  = 200 * time.Millisecond
	judgeInterval = time.Second
	patience      = 5 * time.Second
)

// Follow notes and tells each moment until the last one that is waited for. It
// returns an error that wraps ctx's if ctx ends before.
func (c *Canary) Follow(ctx context.Context) error {
	if c.Until == "" {
		c.Until = SawJudged
	}
	look, judge, waiting := time.NewTicker(lookInterval), time.NewTicker(judgeInterval), time.NewTicker(patience)
	defer look.Stop()
	defer judge.Stop()
	defer waiting.Stop()
	for seen := 0; ; {
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: not everything happened in time: %w", c.next(), ctx.Err())
		case <-waiting.C:
			c.tellWaiting()
		case <-judge.C:
			if err := c.lookAtOutcome(ctx); err != nil {
				return err
			}
		case <-look.C:
		}
		c.lookAtShoppers()
		c.lookAtPrometheus(ctx)
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

// over reports whether the last moment that is waited for was seen, and the rollback
// before it: watches of different kinds do not keep each other's order.
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

// Spoils returns the visits that it has spoiled, in the order of sending.
func (c *Canary) Spoils() []stage.Visit {
	spoiled := c.Spoiled
	if spoiled == nil {
		spoiled = stage.Visit.Failed
	}
	return slices.DeleteFunc(c.Shoppers.Visits(), func(v stage.Visit) bool { return !spoiled(v) })
}

// LookBack notes the last visit that it has spoiled, and how many there were.
func (c *Canary) LookBack() {
	spoils := c.Spoils()
	if len(spoils) == 0 {
		return
	}
	last := spoils[len(spoils)-1]
	c.note(Moment{SawLastBad, fmt.Sprintf("of %d that were bad, out of %d", len(spoils), len(c.Shoppers.Visits())), last.At})
}

// lookAtOutcome notes whether it helped, once backout has judged that.
func (c *Canary) lookAtOutcome(ctx context.Context) error {
	if _, raised := c.Moments.First(SawRaised); !raised {
		return nil
	}
	record, err := c.Record(ctx)
	if err != nil {
		return err
	}
	if record.Outcome != "" {
		c.note(Moment{SawJudged, fmt.Sprintf("%s: %s", record.Outcome, record.Verify.Note), record.Verify.Done})
	}
	return nil
}

// lookAtShoppers notes the first visit that it has spoiled.
func (c *Canary) lookAtShoppers() {
	if _, known := c.Moments.First(SawBad); known {
		return
	}
	if spoils := c.Spoils(); len(spoils) > 0 {
		c.note(Moment{SawBad, "a shopper got " + spoils[0].String(), spoils[0].At})
	}
}

// lookAtPrometheus notes since when the alert is active, if it has to wait before
// it fires.
func (c *Canary) lookAtPrometheus(ctx context.Context) {
	if _, known := c.Moments.First(SawPending); known || c.Alerts == nil {
		return
	}
	alerts, err := c.Alerts(ctx)
	if err != nil {
		return // asked again at once
	}
	for _, a := range alerts {
		ours := string(a.Labels["namespace"]) == c.Key.Namespace && string(a.Labels["release"]) == c.Key.Release
		if ours && a.State == promv1.AlertStatePending {
			c.note(Moment{SawPending, string(a.Labels["alertname"]), a.ActiveAt})
			return
		}
	}
}

// see notes what the API server committed.
func (c *Canary) see(ctx context.Context, e stage.Event) error {
	switch {
	case e.Kind == stage.SawRecord && e.Name == ledger.Name(c.Key.Release, c.Revision):
		record, err := c.Record(ctx)
		if err != nil {
			return err
		}
		a := record.Accusations[0]
		c.note(Moment{SawFiring, a.Alert + ": " + a.Summary, a.StartsAt})
		c.note(Moment{SawWebhook, "Alertmanager's post reached backout", a.Received})
		c.note(Moment{SawRecord, "ConfigMap " + e.Name, e.At})
	case e.Kind == stage.SawWeight && e.Value == "0":
		c.note(Moment{SawZero, "Ingress " + e.Name + " at the API server", e.At})
	case e.Kind == stage.SawWeight:
		if _, zeroed := c.Moments.First(SawZero); zeroed {
			c.note(Moment{SawRaised, fmt.Sprintf("the pods are ready; Ingress %s has its weight of %s again", e.Name, e.Value), e.At})
		}
	case e.Kind == stage.SawRevision && e.Value == fmt.Sprintf("%d deployed", c.Revision+1):
		c.note(Moment{SawRolledBack, "Helm revision " + e.Value, e.At})
	}
	return nil
}

func (c *Canary) note(m Moment) {
	c.Moments = append(c.Moments, m)
	if c.Out != nil {
		fmt.Fprintf(c.Out, "  %s  %-18s %s\n", c.Moments.since(m), m.Kind, m.Text)
	}
}

// next names what is waited for.
func (c *Canary) next() string {
	if n := len(c.Moments); n > 0 {
		return "what follows " + c.Moments[n-1].Kind
	}
	return "the first bad request"
}

func (c *Canary) tellWaiting() {
	if c.Out != nil {
		fmt.Fprintf(c.Out, "  %9s  waiting for %s; %d requests so far\n", "", c.next(), len(c.Shoppers.Visits()))
	}
}

// Judge returns what was not as it should be, joined: zero before the rollback, no
// request failed but the canary's own, none reached it a second after its weight was
// zero, and a record of a rollback to the target that helped.
func (c *Canary) Judge(ctx context.Context, target int) error {
	var errs []error
	zero, zeroed := c.Moments.First(SawZero)
	made, rolledBack := c.Moments.First(SawRolledBack)
	if !zeroed || !rolledBack || made.At.Before(zero.At) {
		errs = append(errs, errors.New("the canary's weight was not zero before the rollback was done"))
	}
	for _, v := range c.Shoppers.Visits() {
		switch {
		case !v.Failed():
		case v.Backend != "" && v.Backend != stage.CanaryService:
			errs = append(errs, fmt.Errorf("a shopper's request failed that was not the bad canary's: %s", v))
		case zeroed && v.At.After(zero.At.Add(time.Second)):
			errs = append(errs, fmt.Errorf("a request reached the bad canary a second after its weight was zero: %s", v))
		}
	}
	r, err := c.Record(ctx)
	if err != nil {
		return errors.Join(append(errs, err)...)
	}
	if !r.Rollback.Succeeded() || r.Target != target || !r.Raise.Succeeded() {
		errs = append(errs, fmt.Errorf("the record does not tell of a rollback to revision %d: %s", target, r.Summary()))
	}
	if r.Outcome != rollback.Recovered {
		errs = append(errs, fmt.Errorf("backout does not call it recovered but %q: %s", r.Outcome, r.Summary()))
	}
	return errors.Join(errs...)
}
