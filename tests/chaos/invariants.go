package chaos

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/tests/env/stage"
)

// Rule is what has to be true of every trial, whatever broke.
type Rule string

// The rules.
const (
	// RuleEnds: backout comes to an end by itself.
	RuleEnds Rule = "backout comes to an end"
	// RuleRevision: the right revision is deployed, and live is what it declares.
	RuleRevision Rule = "the right revision is deployed"
	// RulePending: no Helm operation is left in flight.
	RulePending Rule = "no pending revision"
	// RuleOnce: one rollback at most.
	RuleOnce Rule = "one rollback at most"
	// RuleTraffic: no request goes to a pod that is not ready, or to the bad canary
	// once its weight was zero.
	RuleTraffic Rule = "no request to a pod that is not ready"
	// RuleRecord: the record says what the cluster shows.
	RuleRecord Rule = "the record is true"
	// RuleZero: a weight at zero has an open record that accounts for it, and no mark of a
	// shed is left without one; a hold has its zero.
	RuleZero Rule = "no zero without a hold, no hold without a zero"
	// RuleUpgrade: an operator can go on with helm upgrade.
	RuleUpgrade Rule = "a helm upgrade works"
	// RuleAlone: backout leaves a release alone that an operator's command rolls back, dead or not.
	RuleAlone Rule = "backout leaves the release to the operator's command"
	// RuleAsks: a command that does not go on is reported, with the command to run.
	RuleAsks Rule = "the team gets the command that goes on"
)

// underway is how long a request may still be on its way to the bad canary after
// its weight was zero.
const underway = time.Second

// fewDifferences is how many differences a trial reports of live objects that are
// not as declared.
const fewDifferences = 3

// checks are all that judge the outcome.
func checks() []func(context.Context, *Run, Facts) {
	return []func(context.Context, *Run, Facts){
		checkRevision, checkPending, checkOnce, checkShoppers, checkWeight, checkRecord, checkZero, checkCommand,
	}
}

// accounted reports whether an open record says why the weight is zero.
func accounted(f Facts) bool {
	return slices.ContainsFunc(f.Records, func(record rollback.Record) bool { return record.AccountsForZero() })
}

// checkZero compares the live route with the open records.
func checkZero(_ context.Context, r *Run, f Facts) {
	held := slices.ContainsFunc(f.Records, func(record rollback.Record) bool { return record.Hold.Active() })
	if zero := f.Weight == "0" || f.Marked; zero && !accounted(f) {
		r.breaks(RuleZero, "the weight is %s, marked %t, and no open record accounts for it", f.Weight, f.Marked)
	} else if held && f.Weight != "0" {
		r.breaks(RuleZero, "a record holds the weight at zero, and it is %s", f.Weight)
	}
}

func checkRevision(ctx context.Context, r *Run, f Facts) {
	if r.End == GivenUp {
		return // Helm may have written a part of the target
	}
	newest, declares := f.Newest(), f.Revisions[0]
	if r.End == Upgraded {
		declares = newest
		if newest.rollback() || !strings.Contains(newest.Manifest, ":v4") {
			r.breaks(RuleRevision, "the newest revision is not the operator's v4: %s", newest)
		}
	} else if newest.Manifest != declares.Manifest {
		r.breaks(RuleRevision, "revision %s does not declare the same as revision 1", newest)
	}
	if newest.Status != "deployed" {
		r.breaks(RuleRevision, "the newest revision is not deployed: %v", f.Revisions)
	}
	differences, err := compare(ctx, r.stage.Sandbox.RESTConfig(), r.shop.Namespace, declares.Manifest)
	if err != nil {
		r.fail(err)
	}
	for i, d := range differences {
		if i == fewDifferences {
			r.breaks(RuleRevision, "and %d more differences", len(differences)-i)
			break
		}
		if r.End == Waiting && strings.Contains(d, stage.WeightAnnotation) {
			continue // zero, until a pod is ready
		}
		r.breaks(RuleRevision, "live is not what revision %d declares: %s", declares.Number, d)
	}
}

func checkPending(_ context.Context, r *Run, f Facts) {
	for _, revision := range f.Revisions {
		if strings.HasPrefix(revision.Status, "pending") || revision.Status == "uninstalling" {
			r.breaks(RulePending, "revision %s is left in flight", revision)
		}
	}
}

func checkOnce(_ context.Context, r *Run, f Facts) {
	done, _ := f.Rollbacks()
	if done > 1 || done == 0 && r.End != Upgraded && r.End != GivenUp {
		r.breaks(RuleOnce, "%d rollbacks: %v", done, f.Revisions)
	}
	deployed := 0
	for _, revision := range f.Revisions {
		if revision.Status == "deployed" {
			deployed++
		}
	}
	if deployed != 1 {
		r.breaks(RuleOnce, "%d revisions are deployed: %v", deployed, f.Revisions)
	}
}

// checkShoppers checks every request. The bad canary may fail its own, until its
// weight is zero.
func checkShoppers(_ context.Context, r *Run, f Facts) {
	i := slices.IndexFunc(f.Commits, zero)
	if i < 0 && r.End != Upgraded {
		r.breaks(RuleTraffic, "the canary's weight was never zero")
		return
	}
	for _, v := range f.Visits {
		own := v.Code == http.StatusInternalServerError && v.Backend == stage.CanaryService
		if v.Failed() && !own {
			r.breaks(RuleTraffic, "at %s a shopper got no page: %s", r.since(v.At), v)
		}
		late := i >= 0 && v.At.After(f.Commits[i].At.Add(underway)) && !r.after(v.At)
		if late && (own || v.Version == "v3") {
			r.breaks(RuleTraffic, "at %s a shopper got the bad canary, %s after its weight was zero: %s",
				r.since(v.At), v.At.Sub(f.Commits[i].At).Round(time.Millisecond), v)
		}
	}
}

// checkWeight checks the commits: the weight leaves zero only when the pods of the
// target revision are ready.
func checkWeight(_ context.Context, r *Run, f Facts) {
	weight, pods := "", ""
	for _, s := range f.Commits {
		if state, ok := strings.CutPrefix(s.What, "canary "); ok {
			pods = state
		}
		now, ok := strings.CutPrefix(s.What, "weight ")
		if !ok {
			continue
		}
		if weight == "0" && now != "0" && !r.after(s.At) && pods != "v2 ready" {
			r.breaks(RuleTraffic, "at %s the weight went from 0 to %s while the canary's pods were: %s", r.since(s.At), now, pods)
		}
		weight = now
	}
}

func checkRecord(_ context.Context, r *Run, f Facts) {
	records := slices.DeleteFunc(slices.Clone(f.Records), r.tooLate)
	if len(records) != 1 || records[0].Revision != 2 {
		r.breaks(RuleRecord, "%d records, want one about revision 2", len(records))
		return
	}
	record := records[0]
	for _, mismatch := range mismatches(r, f, record) {
		r.breaks(RuleRecord, "%s", mismatch)
	}
}

// mismatches returns where the record and the cluster differ.
func mismatches(r *Run, f Facts, record rollback.Record) []string {
	var found []string
	claim := func(what string, says, is any) {
		if says != is {
			found = append(found, fmt.Sprintf("%s: the record says %v, the cluster %v", what, says, is))
		}
	}
	claim("UID of revision 2", record.UID, f.Revisions[1].UID)
	claim("weight was zero", record.Shed.Succeeded(), slices.ContainsFunc(f.Commits, zero))
	for _, w := range record.Weights {
		claim("weights", w.String(), fmt.Sprintf("Ingress/%s %d -> 0", stage.CanaryIngress, percent))
	}
	if record.Shed.Succeeded() {
		claim("routes that were set to zero", len(record.Weights), 1)
	}
	if rolledBackByCommand(record) {
		mismatchesOfCommand(f, record, claim)
		return found
	}
	done, _ := f.Rollbacks()
	claim("rolled back", record.Rollback.Succeeded(), done == 1)
	if record.Rollback.Succeeded() {
		made := slices.IndexFunc(f.Revisions, func(v Revision) bool {
			return v.Number == record.Made && v.Status != "failed" && v.Description == fmt.Sprintf("Rollback to %d", record.Target)
		})
		claim(fmt.Sprintf("revision %d is the rollback to %d", record.Made, record.Target), true, made >= 0)
		claim("target", record.Target, 1)
	} else {
		claim("revision made", record.Made, 0)
	}
	if r.End != Upgraded {
		claim("weight is the target's again", record.Restore.Succeeded(), lastWeight(f) == fmt.Sprint(percent))
	}
	return found
}

func lastWeight(f Facts) (weight string) {
	for _, s := range f.Commits {
		if now, ok := strings.CutPrefix(s.What, "weight "); ok {
			weight = now
		}
	}
	return weight
}

// since returns the time as an offset from the alert, in seconds.
func (r *Run) since(t time.Time) string {
	return fmt.Sprintf("%+.3fs", t.Sub(r.posted).Seconds())
}

// after reports whether an operator had begun to change the release by then.
func (r *Run) after(t time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.operatorSince.IsZero() && t.After(r.operatorSince)
}
