package reporttest

import (
	"fmt"
	"maps"
	"time"

	"github.com/upcommerce/backout/rollback"
)

// Hostile is a text that a stranger may write into an alert.
const Hostile = "<!channel> `rm -rf /` $(reboot) <https://evil.example|pay> *50%* @here & \"it\"\u202e\nnext"

const (
	bakedReason   = "revision 7 has been running since 2026-03-02T02:00:00Z, for more than 24h0m0s"
	ownReason     = "revision 7 is backout's own rollback of revision 6"
	pendingReason = "revision 7 is pending-upgrade"
	unknownReason = "Prometheus could not confirm the alert: it does not answer in time"
	stableReason  = "Service web has no ready endpoint; backout leaves the weight as it is"
	manualCommand = "backout rollback shop/web --to 5"
)

// Records returns a record for every verdict, outcome, state and kind of entry, by
// names that begin with the verdict.
func Records() map[string]rollback.Record {
	all := make(map[string]rollback.Record)
	for _, some := range []map[string]rollback.Record{acting(), ended(), stuck(), obstructed(), waiting(), held(), leftAlone(), untouched(), promoted()} {
		maps.Copy(all, some)
	}
	return all
}

// acting are records on their way to a rollback.
func acting() map[string]rollback.Record {
	return map[string]rollback.Record{
		"act_shed": Record(Act(), Shed),
		"act_shed_in_part": Record(Act(), Shed, func(r *rollback.Record) {
			r.Shed.Note = "no route of a known kind in namespace shop divides requests between cart-canary and another backend"
		}),
		"act_rolled_back": Record(Act(), RolledBack),
		"act_differences": Record(Act(), RolledBack, func(r *rollback.Record) {
			r.Differences = []string{"ConfigMap web differs from revision 5 in data.banner", "Ingress web keeps its live weights and numbers of replicas, and revision 5 declares others: the API server refuses the change: no"}
		}),
		"act_weight_restored": Record(Act(), Restored),
		"act_no_route":        Record(Act(), Restored, ShedWithoutRoute),
		"act_pods_not_ready": Record(Act(), RolledBack, func(r *rollback.Record) {
			r.Restore = &rollback.Step{Started: At(2 * time.Second), Error: "1 of 2 pods of Deployment web-canary are ready"}
		}),
		"no_stable": Record(rollback.Decision{
			Verdict: rollback.NoStable, Rollback: true, Target: 5, Reason: stableReason,
		}, Restored, func(r *rollback.Record) { r.Shed, r.Weights = nil, nil }),
		"hostile": Record(Act(), RolledBack, func(r *rollback.Record) {
			s := &r.Signals[0]
			s.Alert, s.Summary, s.Description, s.Link = Hostile, Hostile, Hostile, "https://evil.example/a|b>c<d"
		}),
		"many_alerts": Record(Act(), RolledBack, func(r *rollback.Record) {
			for i := range 7 {
				s := r.Signals[0]
				s.Fingerprint, s.Alert, s.Received, s.Resolved = fmt.Sprint("m", i), fmt.Sprint("Another", i), At(time.Duration(i)*time.Second), At(time.Minute)
				r.Signals = append(r.Signals, s)
			}
		}),
	}
}

// ended are records of rollbacks whose outcome, or whose failure, is known.
func ended() map[string]rollback.Record {
	return map[string]rollback.Record{
		"act_recovered":     Record(Act(), Verified(rollback.OutcomeRecovered, "the alert is quiet, and the canary gets 10.0 requests a second")),
		"act_restored":      Record(Act(), Verified(rollback.OutcomeRestored, "the alert is quiet, but the canary gets too little traffic for that to prove anything")),
		"act_not_recovered": Record(Act(), Verified(rollback.OutcomeNotRecovered, "the alert still fires 10m0s after the rollback")),
		"act_unverified":    Record(Act(), Verified("", "the release moved on before the outcome was known")),
		"act_pods_late": Record(Act(), RolledBack, func(r *rollback.Record) {
			r.Restore, r.Outcome = &rollback.Step{Started: At(2 * time.Second), Error: "waiting for the canary's pod"}, rollback.OutcomeNotRecovered
		}),
		"act_failed": Record(Act(), Shed, Closed(time.Minute), func(r *rollback.Record) {
			r.Rollback, r.Target = FailedStep(20, "the API server does not answer"), 5
		}),
		"act_restore_failed": Record(Act(), RolledBack, Closed(time.Minute), func(r *rollback.Record) {
			r.Restore = FailedStep(1, "the release is at revision 9 now; check that its canary has the weight it should have")
		}),
	}
}

// obstructed are records about which backout reports an error outside of a step, or a zero that
// no record accounts for.
func obstructed() map[string]rollback.Record {
	return map[string]rollback.Record{
		"act_leftover": Record(Act(), Verified(rollback.OutcomeRecovered, "the alert is quiet, and the canary gets 10.0 requests a second"), func(r *rollback.Record) {
			r.Leftover = &rollback.Step{Started: At(3 * time.Hour), Attempts: 1, Error: "the weight is zero on Ingress/web-canary"}
		}),
		"baked_stray_mark": Record(Hold(rollback.Baked, bakedReason), Held, Closed(time.Hour), func(r *rollback.Record) {
			r.Hold.End(At(time.Hour), "the release is gone")
			r.StrayRoutes = []string{"HTTPRoute.gateway.networking.k8s.io/shop"}
			r.Leftover = &rollback.Step{Started: At(2 * time.Hour), Attempts: 1, Error: "HTTPRoute/shop: marked by a shed, and the release is gone"}
		}),
		"act_leftover_over": Record(Act(), Verified(rollback.OutcomeRecovered, "the alert is quiet, and the canary gets 10.0 requests a second"), func(r *rollback.Record) {
			r.Leftover = Step(3*time.Hour, 4*time.Hour)
			r.Leftover.Error = "the weight is zero on Ingress/web-canary"
		}),
		"act_obstacle": Record(Act(), RolledBack, func(r *rollback.Record) {
			r.Obstacle = FailingStep(12, "read the pods: statefulsets.apps is forbidden")
		}),
		"act_obstacle_over": Record(Act(), RolledBack, func(r *rollback.Record) {
			r.Obstacle = Step(50*time.Millisecond, 40*time.Second)
			r.Obstacle.Error = "read the pods: statefulsets.apps is forbidden"
		}),
		"baked_obstacle": Record(Hold(rollback.Baked, bakedReason), Held, func(r *rollback.Record) {
			r.Obstacle = FailingStep(12, "read the pause of the namespace: configmaps is forbidden")
		}),
	}
}

// stuck are records with a step that fails again and again.
func stuck() map[string]rollback.Record {
	return map[string]rollback.Record{
		"act_shed_fails": Record(Act(), func(r *rollback.Record) { r.Shed = FailingStep(5, "failed calling webhook \"x\"") }),
		"act_shed_given_up": Record(Act(), func(r *rollback.Record) {
			r.Shed = FailedStep(8, "ingresses.networking.k8s.io is forbidden")
		}),
		"act_shed_given_up_rollback_fails": Record(Act(), func(r *rollback.Record) {
			r.Shed, r.Rollback, r.Target = FailedStep(8, "ingresses.networking.k8s.io is forbidden"), FailingStep(6, "the API server does not answer"), 5
		}),
		"act_shed_given_up_rolled_back": Record(Act(), RolledBack, func(r *rollback.Record) {
			r.Shed, r.Weights = FailedStep(8, "ingresses.networking.k8s.io is forbidden"), nil
		}),
		"act_shed_given_up_recovered": Record(Act(), Verified(rollback.OutcomeRecovered, "the alert is quiet, and the canary gets 10.0 requests a second"), func(r *rollback.Record) {
			r.Shed, r.Weights = FailedStep(5, "ingresses.networking.k8s.io is forbidden"), nil
			r.Restore.Note = "backout could not write the canary's weight, and leaves it as it is: ingresses.networking.k8s.io is forbidden"
		}),
		"act_shed_given_up_halfway": Record(Act(), RolledBack, func(r *rollback.Record) {
			r.Shed = FailedStep(5, "httproutes.gateway.networking.k8s.io is forbidden")
		}),
		"act_preflight_fails": Record(Act(), Shed, func(r *rollback.Record) {
			r.Preflight = FailingStep(6, "the API server does not answer")
		}),
		"act_rollback_fails": Record(Act(), Shed, func(r *rollback.Record) {
			r.Rollback, r.Target = FailingStep(6, "another operation (install/upgrade/rollback) is in progress"), 5
		}),
		"act_restore_fails": Record(Act(), RolledBack, func(r *rollback.Record) {
			r.Restore = FailingStep(6, "failed calling webhook \"x\"")
		}),
		"baked_shed_fails": Record(Hold(rollback.Baked, bakedReason), func(r *rollback.Record) {
			r.Shed = FailingStep(6, "failed calling webhook \"x\"")
		}),
		"busy_shed_given_up": Record(Act(), Decided(Wait(rollback.Busy, pendingReason), time.Minute), func(r *rollback.Record) {
			r.Shed = FailedStep(8, "ingresses.networking.k8s.io is forbidden")
		}),
	}
}

// waiting are records whose decision is taken again.
func waiting() map[string]rollback.Record {
	return map[string]rollback.Record{
		"busy": Record(Wait(rollback.Busy, pendingReason), Shed),
		"busy_stuck": Record(rollback.Decision{
			Verdict: rollback.Busy, Shed: true, Waits: true, NeedsHelp: true, Command: rollback.ReadCommand(manualCommand),
			Reason: "revision 7 has been pending-upgrade for more than 1h0m0s: the Helm operation looks stuck",
		}, Shed),
		"busy_no_route": Record(Wait(rollback.Busy, pendingReason), ShedWithoutRoute),
		"busy_over": Record(Wait(rollback.Busy, pendingReason), Closed(time.Minute),
			Decided(Ignore(rollback.Stale, "the release has moved on to another revision"), time.Minute)),
		"unknown": Record(Wait(rollback.Unknown, unknownReason), Shed),
		"settling": Record(rollback.Decision{
			Verdict: rollback.Settling, Waits: true, RecheckAt: At(7 * time.Minute), Reason: "the alert started before revision 7 was deployed",
		}),
	}
}

// held are records that keep the weight at zero, or did.
func held() map[string]rollback.Record {
	return map[string]rollback.Record{
		"act_held": Record(HoldAsOrdered("the alert asks to hold the canary at zero"), Held),
		"act_held_reopened": Record(HoldAsOrdered("the alert asks to hold the canary at zero"), Held, func(r *rollback.Record) {
			r.Hold.Reopened, r.Hold.ReopenedAt, r.Hold.ReopenedBy = 1, At(10*time.Second), "argocd-controller"
		}),
		"act_held_reopened_often": Record(HoldAsOrdered("the alert asks to hold the canary at zero"), Held, func(r *rollback.Record) {
			r.Hold.Reopened, r.Hold.ReopenedAt, r.Hold.ReopenedBy = 9, At(time.Minute), "keda-operator"
		}),
		"act_held_applied": Record(HoldAsOrdered("the alert asks to hold the canary at zero"), Held, func(r *rollback.Record) {
			r.Weights[0].FieldManager = "helm"
		}),
		"act_held_manually": Record(HoldAsOrdered("ann asks to hold the canary at zero"), Held, func(r *rollback.Record) {
			r.Signals[0] = rollback.Signal{
				Alert: "hold", Operator: "ann", Level: rollback.LevelShed, Fingerprint: "manual", Summary: "looks odd", StartsAt: Opened(), Received: Opened(),
			}
		}),
		"unknown_held": Record(Hold(rollback.Unknown, unknownReason+"; backout tried for 2m0s"), Held),
		"cooldown":     Record(Hold(rollback.Cooldown, "backout rolled the release back at 2026-03-04T02:55:00Z, less than 10m0s ago"), Held),
		"baked":        Record(Hold(rollback.Baked, bakedReason), Held),
		"baked_preflight_failed_before": Record(Hold(rollback.Baked, bakedReason), Held, func(r *rollback.Record) {
			r.Preflight = FailingStep(6, "the API server does not answer")
		}),
		"own": Record(Hold(rollback.Own, ownReason), Held),
		"managed": Record(rollback.Decision{
			Verdict: rollback.Managed, Shed: true, Hold: true, NeedsHelp: true, Reason: "Flux (HelmRelease flux-system/web) owns the release and would undo a rollback",
			Command: rollback.ReadCommand("flux suspend helmrelease web -n flux-system && " + manualCommand),
		}, Held),
		"no_target": Record(rollback.Decision{
			Verdict: rollback.NoTarget, Shed: true, Hold: true, NeedsHelp: true, Reason: "no older revision is good and has different content",
			Command: rollback.ReadCommand("helm history web -n shop"),
		}, Held),
		"unsafe": Record(Hold(rollback.Unsafe, "a rollback to revision 5 is not safe: it would delete PersistentVolumeClaim data"), Held),
		"baked_hold_lifted": Record(Hold(rollback.Baked, bakedReason), Held, Closed(time.Hour), func(r *rollback.Record) {
			r.Hold.Ended, r.Hold.Lifted, r.Hold.Reason = At(time.Hour), true, "another client gave the canary a weight of 5 on Ingress/web-canary"
		}),
		"not_allowed": Record(Hold(rollback.Own, ownReason), Held, Closed(time.Hour),
			Decided(Ignore(rollback.NotAllowed, "the release is no longer opted in by BACKOUT_RELEASES"), time.Hour), func(r *rollback.Record) {
				r.Hold.Ended, r.Hold.Reason = At(time.Hour), "the release is no longer opted in"
			}),
		"unconfirmed_after_shed": Record(Act(), Closed(2*time.Second),
			Decided(Ignore(rollback.Unconfirmed, "Prometheus says that the alert did not fire"), time.Second), func(r *rollback.Record) {
				r.Hold = &rollback.Hold{Since: At(300 * time.Millisecond), Ended: At(2 * time.Second), Reason: "Prometheus denies the alert; Ingress/web-canary 0 -> 20"}
			}),
	}
}

// leftAlone are records that backout leaves to the team.
func leftAlone() map[string]rollback.Record {
	return map[string]rollback.Record{
		"baked_no_route": Record(Hold(rollback.Baked, bakedReason), Closed(time.Second), ShedWithoutRoute),
		"managed_weights": Record(rollback.Decision{
			Verdict: rollback.Managed, NeedsHelp: true, Reason: "Argo Rollouts (Rollout shop/web) sets the canary's weight; backout leaves the release to it",
			Command: rollback.ReadCommand("kubectl argo rollouts abort web -n shop"),
		}, Closed(time.Second)),
		"no_stable_shed": Record(rollback.Decision{
			Verdict: rollback.NoStable, Waits: true, NeedsHelp: true, Command: rollback.ReadCommand(manualCommand), Reason: stableReason,
		}),
		"storm": Record(rollback.Decision{
			Verdict: rollback.Storming, Waits: true, NeedsHelp: true, Command: rollback.ReadCommand(manualCommand),
			Reason: "alerts fired for 6 releases within 10m0s: look for a cause that they share, not for bad canaries",
		}),
		"paused":            Record(Ignore(rollback.Paused, "release shop/web is paused: 2026-03-04T01:00:00Z by ann: migration"), Closed(0)),
		"paused_everywhere": Record(Ignore(rollback.Paused, "everything is paused: 2026-03-04T01:00:00Z by ann; namespace shop is paused: release freeze"), Closed(0)),
		"paused_after_shed": Record(Wait(rollback.Busy, pendingReason), Shed,
			Decided(Ignore(rollback.Paused, "release shop/web is paused: 2026-03-04T03:00:30Z by ann: migration"), time.Minute)),
	}
}

// untouched are records of alerts that ask for nothing.
func untouched() map[string]rollback.Record {
	return map[string]rollback.Record{
		"stale":           Record(Ignore(rollback.Stale, "the alert is about revision 6; the release is at revision 7"), Closed(0)),
		"unconfirmed":     Record(Ignore(rollback.Unconfirmed, "Prometheus says that the alert did not fire at 2026-03-04T03:00:00Z"), Closed(0)),
		"handled":         Record(Ignore(rollback.Handled, "backout already acted on this alert at revision 6"), Closed(0)),
		"observe":         Record(Ignore(rollback.Observe, "mode observe; in mode act the verdict would be act: "+Act().Reason), Closed(0)),
		"unknown_release": Record(Ignore(rollback.UnknownRelease, "the release is uninstalled"), Closed(0)),
	}
}
