package rollback

import (
	"fmt"
	"slices"
	"time"
)

// Danger is one reason not to roll back automatically.
type Danger struct {
	Kind DangerKind `json:"kind"`
	// What is one sentence that names the object.
	What string `json:"what"`
}

// DangerKind is the kind of a danger, a closed set. BACKOUT_ALLOW accepts those that
// AllowableDangers returns.
type DangerKind string

// The dangers of a rollback.
const (
	// DangerUnbuildable: Helm cannot build or write an object of the target.
	DangerUnbuildable DangerKind = "unbuildable"
	// DangerImmutable: the API server refuses a change.
	DangerImmutable DangerKind = "immutable"
	// DangerForbidden: backout lacks a right that the rollback needs.
	DangerForbidden DangerKind = "forbidden"
	// DangerForeign: the rollback would write an object that is not the release's own, because
	// it is outside of the release's namespace, cluster-scoped, or another release's.
	DangerForeign DangerKind = "foreign"
	// DangerPVC: the rollback would delete a PersistentVolumeClaim.
	DangerPVC DangerKind = "pvc"
	// DangerData: the rollback would delete an object of a kind that may hold data.
	DangerData DangerKind = "data"
	// DangerJob: the rollback would run a Job again.
	DangerJob DangerKind = "job"
	// DangerSecret: the rollback would give a Secret an old value.
	DangerSecret DangerKind = "secret"
	// DangerHook: an upgrade hook ran since the target, differs from the target's, and the
	// rollback does not undo it.
	DangerHook DangerKind = "hook"
	// DangerStable: the rollback would replace the pods of the stable track.
	DangerStable DangerKind = "stable"
	// DangerPods: the target's pods would not start, for want of an object.
	DangerPods DangerKind = "pods"
	// DangerCanary: the target's canary runs the suspect's pods, and backout cannot keep it at
	// zero.
	DangerCanary DangerKind = "canary"
	// DangerReplicas: the lower maxReplicas of an HPA would remove pods that run.
	DangerReplicas DangerKind = "replicas"
)

// AllowableDangers returns the kinds that an operator may allow.
func AllowableDangers() []DangerKind {
	return []DangerKind{DangerPVC, DangerData, DangerJob, DangerSecret, DangerHook, DangerStable, DangerReplicas, DangerPods}
}

// maxPreflightAge is how long the result of a preflight is believed.
const maxPreflightAge = time.Minute

// PreflightIsCurrent reports whether the record has the result of a preflight of a rollback to
// the target, which may begin on it: it is not old, and the rollback has not waited since.
func (r *Record) PreflightIsCurrent(target int, now time.Time) bool {
	if r.PreflightTarget != target || !r.Preflight.Succeeded() || now.Sub(r.Preflight.Done) > maxPreflightAge {
		return false
	}
	return !slices.ContainsFunc(r.Decisions, func(d Decision) bool { return !d.Rollback && d.At.After(r.Preflight.Done) })
}

// maxDifferences bounds the differences that a record keeps.
const maxDifferences = 20

// NotePreflight stores what a preflight found, within the bounds of a record.
func (r *Record) NotePreflight(result PreflightResult) {
	r.NoteDifferences(result.Differences)
	r.Owner, r.Dangers = result.Owner, slices.Clone(result.Dangers[:min(len(result.Dangers), MaxDangers)])
	for i := range r.Dangers {
		r.Dangers[i].What = Clip(r.Dangers[i].What, MaxSummary)
	}
}

// NoteDifferences stores how the live objects differ from what the target declares, within
// the bounds of a record.
func (r *Record) NoteDifferences(texts []string) {
	r.Differences = nil
	for i, text := range texts {
		if i == maxDifferences-1 && len(texts) > maxDifferences {
			r.Differences = append(r.Differences, fmt.Sprintf("%d more objects differ", len(texts)-i))
			return
		}
		r.Differences = append(r.Differences, Clip(text, MaxSummary))
	}
}
