package chaos

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/tests/env/stage"
)

// Facts are the state of the API server when the outcome of a trial is checked, and
// what the watcher and the shoppers saw until then.
type Facts struct {
	Revisions []Revision
	// Records are backout's about the release, Texts the data of their ConfigMaps.
	Records []rollback.Record
	Texts   []string
	Commits []Commit
	Visits  []stage.Visit
	// Weight is the canary's now. Marked says that the route carries the mark of a shed.
	Weight string
	Marked bool
}

// Newest returns the newest revision.
func (f Facts) Newest() Revision { return f.Revisions[len(f.Revisions)-1] }

// Rollbacks returns how many rollbacks were finished, and how many revisions of
// interrupted ones are left.
func (f Facts) Rollbacks() (done, remains int) {
	for _, r := range f.Revisions {
		switch ended := r.Status == "deployed" || r.Status == "superseded"; {
		case !r.rollback():
		case ended:
			done++
		default:
			remains++
		}
	}
	return done, remains
}

// Broken is a rule that a trial broke.
type Broken struct {
	Rule Rule
	Err  error
}

func (r *Run) breaks(rule Rule, format string, args ...any) {
	r.broken = append(r.broken, Broken{Rule: rule, Err: fmt.Errorf(format, args...)})
}

// heldAnnotation is the mark of a shed on a route.
const heldAnnotation = "backout.dev/held-weight"

const (
	// idleFor is how long the trial checks that backout does nothing more.
	idleFor = 5 * time.Second
	// pollEvery is how often the trial reads the record.
	pollEvery = 100 * time.Millisecond
)

// checkOutcome waits for the end and checks every rule.
func (r *Run) checkOutcome(ctx context.Context) {
	limit, cancel := context.WithTimeout(ctx, closeLimit)
	defer cancel()
	ended := closedRecord
	switch r.End {
	case RolledBack, Upgraded:
	case GivenUp:
		ended = func(f Facts) bool {
			return slices.ContainsFunc(f.Records, func(r rollback.Record) bool { return r.Revision == 2 && r.HoldsAfterFailure() })
		}
	case Waiting:
		ended = func(f Facts) bool { return f.Newest().rollback() && f.Newest().Status == "deployed" }
	}
	if err := r.await(limit, ended); err != nil {
		r.breaks(RuleEnds, "after %s backout has not come to an end: %w", closeLimit, err)
	}
	if r.End == Upgraded && !r.operatorStarted() {
		// A run has a write more or less than the clean one: this moment never came.
		r.End = RolledBack
	}
	r.took = time.Since(r.posted)
	if r.End != RolledBack {
		sleep(ctx, idleFor)
	}
	facts, err := r.observe(ctx)
	if err != nil {
		r.fail(err)
		return
	}
	r.facts = facts
	for _, check := range checks() {
		check(ctx, r, facts)
	}
	r.upgradeWorks(ctx)
}

// upgradeWorks checks that an operator can go on with helm upgrade, and that a
// record which waited for pods closes then.
func (r *Run) upgradeWorks(ctx context.Context) {
	if err := r.shop.upgrade(ctx, "v5"); err != nil {
		r.breaks(RuleUpgrade, "%w", err)
		return
	}
	limit, cancel := context.WithTimeout(ctx, closeLimit)
	defer cancel()
	ended := func(f Facts) bool { return f.Newest().Status == "deployed" && closedRecord(f) }
	if err := r.await(limit, ended); err != nil {
		r.breaks(RuleUpgrade, "after helm upgrade to v5: %w", err)
		return
	}
	facts, err := r.observe(ctx)
	if err != nil {
		r.fail(err)
		return
	}
	checkZero(ctx, r, facts)
}

// closedRecord reports whether the record about revision 2 is closed.
func closedRecord(f Facts) bool {
	return slices.ContainsFunc(f.Records, func(r rollback.Record) bool { return r.Revision == 2 && !r.Closed.IsZero() })
}

// await observes until the facts are as wanted.
func (r *Run) await(ctx context.Context, wanted func(Facts) bool) error {
	for {
		facts, err := r.observe(ctx)
		if err == nil && wanted(facts) {
			return nil
		}
		if !sleep(ctx, pollEvery) {
			return fmt.Errorf("%w; revisions %v, records:\n%s", errors.Join(ctx.Err(), err), r.facts.Revisions, strings.Join(r.facts.Texts, "\n"))
		}
		if err == nil {
			r.facts = facts
		}
	}
}

// sleep reports whether ctx let it sleep.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// observe reads the revisions and the records.
func (r *Run) observe(ctx context.Context) (Facts, error) {
	f := Facts{Commits: r.watcher.Commits(), Visits: r.shop.shoppers.Visits()}
	var err error
	if f.Revisions, err = revisions(ctx, r.stage.Client, r.shop.Namespace, stage.Release); err != nil {
		return f, err
	}
	if len(f.Revisions) < 2 {
		return f, fmt.Errorf("revisions are missing: %v", f.Revisions)
	}
	maps, err := r.stage.Client.CoreV1().ConfigMaps(r.shop.Namespace).List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/managed-by=backout"})
	if err != nil {
		return f, fmt.Errorf("list the records: %w", err)
	}
	route, err := r.stage.Client.NetworkingV1().Ingresses(r.shop.Namespace).Get(ctx, stage.CanaryIngress, metav1.GetOptions{})
	if err != nil {
		return f, fmt.Errorf("read the route: %w", err)
	}
	f.Weight = route.Annotations[stage.WeightAnnotation]
	_, f.Marked = route.Annotations[heldAnnotation]
	for _, cm := range maps.Items {
		record, ok, err := recordOf(&cm)
		if err != nil {
			return f, err
		}
		if ok {
			f.Records, f.Texts = append(f.Records, record), append(f.Texts, cm.Data["record.yaml"])
		}
	}
	return f, nil
}

// recordOf decodes a record; a ConfigMap may be about something else.
func recordOf(cm *corev1.ConfigMap) (rollback.Record, bool, error) {
	var record rollback.Record
	text, ok := cm.Data["record.yaml"]
	if !ok {
		return record, false, nil
	}
	if err := yaml.Unmarshal([]byte(text), &record); err != nil {
		return record, false, fmt.Errorf("decode the record %s: %w", cm.Name, err)
	}
	return record, true, nil
}
