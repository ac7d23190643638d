package faults

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
	"github.com/upcommerce/backout/tests/stage"
)

// Facts are what stands at the API server when a trial is judged, and what was
// seen on the way.
type Facts struct {
	Revisions []Revision
	// Records are backout's about the release, Texts what their ConfigMaps hold.
	Records []rollback.Record
	Texts   []string
	Sights  []Sight
	Visits  []stage.Visit
}

// Newest returns the newest revision.
func (f Facts) Newest() Revision { return f.Revisions[len(f.Revisions)-1] }

// Rollbacks returns how many rollbacks were brought to their end, and how many
// revisions are left of those that were not.
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

const (
	// lookOn is how long backout is watched doing nothing, where that is right.
	lookOn = 5 * time.Second
	// pollEvery is how often the record is read.
	pollEvery = 100 * time.Millisecond
)

// judge waits for the end and checks every rule.
func (r *Run) judge(ctx context.Context) {
	limit, cancel := context.WithTimeout(ctx, closeLimit)
	defer cancel()
	ended := closedRecord
	if r.End == Waiting {
		ended = func(f Facts) bool { return f.Newest().rollback() && f.Newest().Status == "deployed" }
	}
	if err := r.await(limit, ended); err != nil {
		r.breaks(RuleEnds, "after %s backout has not come to an end: %w", closeLimit, err)
	}
	if r.End == Upgraded && !r.arrived() {
		// A run has a write more or less than the clean one: this moment never came.
		r.End = RolledBack
	}
	r.took = time.Since(r.posted)
	if r.End != RolledBack {
		sleep(ctx, lookOn)
	}
	facts, err := r.look(ctx)
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

// upgradeWorks checks that people can go on, and that a record which waited for
// pods ends then.
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
	}
}

// closedRecord reports whether the record about revision 2 is closed.
func closedRecord(f Facts) bool {
	return slices.ContainsFunc(f.Records, func(r rollback.Record) bool { return r.Revision == 2 && !r.Closed.IsZero() })
}

// await looks until the facts are as wanted.
func (r *Run) await(ctx context.Context, wanted func(Facts) bool) error {
	for {
		facts, err := r.look(ctx)
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

// look reads everything.
func (r *Run) look(ctx context.Context) (Facts, error) {
	f := Facts{Sights: r.eyes.Sights(), Visits: r.shop.shoppers.Visits()}
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
