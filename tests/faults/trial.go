package faults

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/upcommerce/backout/tests/stage"
)

// Trial is one run of backout with one fault.
type Trial struct {
	// Kind is the row of the table, Name tells the trial from others of its kind.
	Kind, Name string
	// Replicas is how many processes of backout there are; 0: 1.
	Replicas int
	// Replaced says that what was killed is replaced by another pod, and not
	// started again in its own.
	Replaced bool
	// Target are the values of the revision that is gone back to; nil: a good v2.
	Target []string
	// Fault prepares what is to break, before the alert is posted; nil: nothing
	// breaks. What it starts with Run.After happens beside the trial.
	Fault func(ctx context.Context, r *Run) error
	// Alerts are posted; nil: one about v3.
	Alerts func(r *Run) []alert
	// End is what has to be true in the end.
	End End
}

// End is how a trial ends if all is well.
type End int

const (
	// RolledBack is revision 1 back, with its weight.
	RolledBack End = iota
	// Upgraded is a person's v4, which backout left alone.
	Upgraded
	// Waiting is revision 1 back, but without a ready pod its weight stays zero.
	Waiting
	// GivenUp is the bad revision at weight zero, which is left to people.
	GivenUp
)

const (
	// trialLimit bounds one trial.
	trialLimit = 4 * time.Minute
	// closeLimit is how long backout may take to close its record, once the fault
	// is over.
	closeLimit = 90 * time.Second
	// quietLimit is how long a resolved alert comes after the weight was zero.
	quietLimit = 4 * time.Second
)

// Run is a Trial that is being run.
type Run struct {
	Trial

	stage    *stage.Stage
	dir      string // of logs and kubeconfigs
	shop     *Shop
	eyes     *Eyes
	proxy    *Proxy
	doors    []*Door
	replicas []*Replica

	posted   time.Time
	took     time.Duration  // from the alert to the closed record
	begun    chan struct{}  // closed once the alert is posted
	beside   sync.WaitGroup // the faults that After began
	life     sync.WaitGroup // what goes on until the trial is over
	mu       sync.Mutex
	happened int       // faults that came to pass
	broke    error     // why the trial says nothing about backout
	person   time.Time // when somebody began to upgrade the release
	broken   []Broken
	facts    Facts
}

// NewRun returns a run of the trial in a namespace of its own. dir is made and
// keeps its logs.
func NewRun(st *stage.Stage, trial Trial, namespace, dir string) *Run {
	return &Run{Trial: trial, stage: st, dir: dir, shop: newShop(st.Place(namespace)), begun: make(chan struct{})}
}

// Try runs the trial to its end. Its processes listen on ports from that one on.
func (r *Run) Try(ctx context.Context, port int) Result {
	begun := time.Now()
	if r.Fault == nil && (r.Alerts != nil || r.Target != nil) {
		r.happened = 1 // what is wrong is there from the start
	}
	err := os.MkdirAll(r.dir, 0o750)
	if err == nil {
		err = errors.Join(r.run(ctx, port), r.journal())
	}
	result := Result{
		Trial: r.Trial, Err: errors.Join(err, r.broke), Broken: r.broken, Happened: r.happened,
		Took: r.took, Lasted: time.Since(begun), Dir: r.dir,
	}
	if len(r.facts.Revisions) > 0 {
		result.Done, result.Remains = r.facts.Rollbacks()
	}
	return result
}

// run runs the trial until it is judged.
func (r *Run) run(ctx context.Context, port int) (err error) {
	ctx, cancel := context.WithTimeout(ctx, trialLimit)
	defer func() {
		cancel()
		r.life.Wait()
		err = errors.Join(err, r.shop.close(context.WithoutCancel(ctx), r.stage.Client))
	}()
	if r.Target == nil {
		r.Target = values("v2")
	}
	if err := r.shop.open(ctx, r.Target); err != nil {
		return fmt.Errorf("open the shop: %w", err)
	}
	if r.eyes, err = openEyes(ctx, r.stage.Client, r.shop.Namespace); err != nil {
		return err
	}
	if err := r.openDoors(ctx, port); err != nil {
		return err
	}
	for _, replica := range r.replicas {
		r.life.Go(func() { r.fail(replica.keep(ctx)) })
	}
	for _, replica := range r.replicas {
		if err := replica.awaitReady(ctx); err != nil {
			return err
		}
	}
	r.life.Go(func() { r.shop.shoppers.Stroll(ctx, perSecond) })
	if r.Fault != nil {
		if err := r.Fault(ctx, r); err != nil {
			return fmt.Errorf("prepare the fault: %w", err)
		}
	}
	if err := r.accuse(ctx); err != nil {
		return err
	}
	r.beside.Wait()
	r.judge(ctx)
	return nil
}

// fail notes that the trial itself could not be made.
func (r *Run) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.broke = errors.Join(r.broke, err)
}

// happen notes that a fault came to pass.
func (r *Run) happen() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.happened++
}

// leads returns the replica that holds the Lease; the first one where there is
// none.
func (r *Run) leads() *Replica { return r.replicas[max(0, r.proxy.Leader())] }

// BreakAt lets the fault happen at that moment of the writes.
func (r *Run) BreakAt(m Moment, f Fault) {
	r.proxy.Break(m, func(w Write) error {
		r.happen()
		return f(w)
	})
}

// labels are those of an alert about the bad canary.
func (r *Run) labels() map[string]string {
	return map[string]string{
		"alertname": "CanaryErrors", "backout": "rollback", "namespace": r.shop.Namespace,
		"release": stage.Release, "version": "v3",
	}
}

// alerts is one about the bad canary, which fires since now.
func (r *Run) alerts() []alert { return []alert{{Labels: r.labels(), Starts: time.Now()}} }

// accuse posts the alert, and that it is resolved once the canary has been
// without traffic for a while.
func (r *Run) accuse(ctx context.Context) error {
	alerts := r.alerts()
	if r.Alerts != nil {
		alerts = r.Alerts(r)
	}
	var addresses []string
	for _, replica := range r.replicas {
		addresses = append(addresses, replica.Webhook)
	}
	r.posted = time.Now()
	close(r.begun)
	if err := deliver(ctx, alerts, addresses...); err != nil {
		return err
	}
	r.life.Go(func() {
		if r.eyes.await(ctx, zero) != nil {
			return // the trial is over
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(quietLimit):
		}
		for i := range alerts {
			alerts[i].Ends = time.Now()
		}
		_ = deliver(ctx, alerts, addresses...) // until the trial is over
	})
	return nil
}

// After has something happen so long after the alert was posted. The trial is
// judged only when it is over.
func (r *Run) After(ctx context.Context, d time.Duration, what func(ctx context.Context) error) {
	r.beside.Go(func() {
		<-r.begun
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Until(r.posted.Add(d))):
		}
		r.fail(what(ctx))
		r.happen()
	})
}
