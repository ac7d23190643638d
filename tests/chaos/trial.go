package chaos

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/tests/env/stage"
)

// Trial is one run of backout with one fault.
type Trial struct {
	// Kind is the row of the table, Name distinguishes trials of one kind.
	Kind, Name string
	// Replicas is how many processes of backout there are; 0: 1.
	Replicas int
	// Replaced: another pod replaces a killed one, instead of a restart in the same
	// pod.
	Replaced bool
	// Target are the values of the target revision; nil: a good v2.
	Target []string
	// Fault prepares the fault before the alert is posted; nil: nothing breaks. The
	// functions that it passes to Run.After run in parallel with the trial.
	Fault func(ctx context.Context, r *Run) error
	// Order is what an operator does with the command; nil: an alert is posted.
	Order func(ctx context.Context, r *Run) error
	// Alerts are posted; nil: one about v3.
	Alerts func(r *Run) []alert
	// Repeats makes Alertmanager repeat them: where they have to wait, backout acts on
	// nothing less.
	Repeats bool
	// End is how the trial has to end.
	End End
}

// End is how a trial ends if all is well.
type End int

const (
	// RolledBack is revision 1 back, with its weight.
	RolledBack End = iota
	// Upgraded is an operator's v4, which backout left alone.
	Upgraded
	// Waiting is revision 1 back, but without a ready pod its weight stays zero.
	Waiting
	// GivenUp is the bad revision at weight zero, which an operator has to look at.
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
	watcher  *Watcher
	proxy    *Proxy
	links    []*Link
	replicas []*Replica
	// command and inbox exist if the trial has an Order.
	command *Command
	inbox   *Inbox

	posted        time.Time
	took          time.Duration  // from the alert to the closed record
	begun         chan struct{}  // closed once the alert is posted
	faults        sync.WaitGroup // the faults that After began
	background    sync.WaitGroup // goroutines that run until the trial is over
	mu            sync.Mutex
	happened      int       // faults that occurred
	commandDone   bool      // the command has said that it has finished
	broke         error     // why the trial proves nothing about backout
	operatorSince time.Time // when an operator began to upgrade the release
	broken        []Broken
	facts         Facts
}

// NewRun returns a run of the trial in a namespace of its own. It makes dir, which
// keeps the logs.
func NewRun(st *stage.Stage, trial Trial, namespace, dir string) *Run {
	return &Run{Trial: trial, stage: st, dir: dir, shop: newShop(st.Place(namespace)), begun: make(chan struct{})}
}

// Try runs the trial to its end. Its processes listen on ports from that one on.
func (r *Run) Try(ctx context.Context, port int) Result {
	begun := time.Now()
	if r.Fault == nil && (r.Alerts != nil || r.Target != nil) {
		r.happened = 1 // the fault is there from the start
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

// run runs the trial until its outcome is checked.
func (r *Run) run(ctx context.Context, port int) (err error) {
	limit := trialLimit
	if r.Order != nil {
		limit += 2 * rollback.ManualPatience
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer func() {
		cancel()
		r.background.Wait()
		err = errors.Join(err, r.shop.close(context.WithoutCancel(ctx), r.stage.Client))
	}()
	if r.Target == nil {
		r.Target = values("v2")
	}
	if err := r.shop.open(ctx, r.Target); err != nil {
		return fmt.Errorf("open the shop: %w", err)
	}
	if r.watcher, err = watchNamespace(ctx, r.stage.Client, r.shop.Namespace); err != nil {
		return err
	}
	if err := r.setUp(ctx, port); err != nil {
		return err
	}
	for _, replica := range r.replicas {
		r.background.Go(func() { r.fail(replica.keep(ctx)) })
	}
	for _, replica := range r.replicas {
		if err := replica.awaitReady(ctx); err != nil {
			return err
		}
	}
	r.background.Go(func() { r.shop.shoppers.Stroll(ctx, perSecond) })
	if r.Fault != nil {
		if err := r.Fault(ctx, r); err != nil {
			return fmt.Errorf("prepare the fault: %w", err)
		}
	}
	if err := r.begin(ctx); err != nil {
		return err
	}
	r.faults.Wait()
	r.checkOutcome(ctx)
	return nil
}

// fail stores that the trial itself could not run.
func (r *Run) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.broke = errors.Join(r.broke, err)
}

// happen counts a fault that occurred.
func (r *Run) happen() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.happened++
}

// leads returns the replica that holds the Lease; the first one if no replica
// does.
func (r *Run) leads() *Replica { return r.replicas[max(0, r.proxy.Leader())] }

// BreakAt runs the fault at that moment of the writes.
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

// alerts is one about the bad canary, which fires from now on.
func (r *Run) alerts() []alert { return []alert{{Labels: r.labels(), Starts: time.Now()}} }

// begin posts the alert, or has the operator act.
func (r *Run) begin(ctx context.Context) error {
	r.posted = time.Now()
	close(r.begun)
	if r.Order != nil {
		return r.Order(ctx, r)
	}
	return r.fire(ctx)
}

// After runs the function that long after the alert was posted. The trial checks
// its outcome only when the function has returned.
func (r *Run) After(ctx context.Context, d time.Duration, f func(ctx context.Context) error) {
	r.faults.Go(func() {
		<-r.begun
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Until(r.posted.Add(d))):
		}
		r.fail(f(ctx))
		r.happen()
	})
}
