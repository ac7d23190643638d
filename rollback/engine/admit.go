package engine

import (
	"context"
	"slices"
	"time"

	"github.com/upcommerce/backout/rollback"
)

// admit reads one alert, and refuses it if it must not lead to anything, before any
// request goes to the cluster.
func (in *intake) admit(ctx context.Context, alert rollback.Alert, now time.Time) (rollback.Key, rollback.Signal, bool) {
	if in.watchdog(alert) {
		return rollback.Key{}, rollback.Signal{}, false
	}
	k, s, err := in.readAlert(alert, now)
	reason, why := in.policy.Refuse(alert, k, err)
	if reason == "" {
		return k, s, true
	}
	in.metrics.ignored.WithLabelValues(string(reason)).Inc()
	if reason == rollback.IgnoredNoLabel {
		return k, s, false
	}
	name := rollback.Clip(alert.Labels[rollback.LabelAlertname], rollback.MaxName)
	sender := ""
	if alert.Sender != nil {
		sender = rollback.Clip(rollback.Printable(alert.Sender.Name), rollback.MaxName)
	}
	in.refuse(ctx, rollback.LineSource{Sender: sender, Reason: string(reason)},
		rollback.Refusal{Key: k, Verdict: rollback.NotAllowed, Alert: name, Reason: why, Count: 1, Last: now})
	return k, s, false
}

// watchdog counts a watchdog by its namespace, and reports whether the alert was one that
// counts: any other watchdog is read like every alert, and refused.
func (in *intake) watchdog(alert rollback.Alert) bool {
	namespace := alert.Labels[rollback.LabelNamespace]
	if alert.Labels[rollback.LabelLevel] != rollback.LevelWatchdog || !in.policy.SameCluster(alert.Labels[rollback.LabelCluster]) ||
		!slices.Contains(in.policy.Namespaces(), namespace) || !alert.Sender.MaySpeakFor(namespace) {
		return false
	}
	if !alert.Resolved {
		in.metrics.watchdogs.WithLabelValues(namespace).Inc()
	}
	return true
}

// refuseUnknown refuses signals about a release that does not exist, or of which there are two.
func (in *intake) refuseUnknown(ctx context.Context, k rollback.Key, signals []rollback.Signal, why string) {
	in.refuse(ctx, rollback.LineSource{Sender: signals[0].Sender, Reason: string(rollback.UnknownRelease)}, rollback.Refusal{
		Key: k, Verdict: rollback.UnknownRelease, Alert: signals[0].Alert, Reason: rollback.Clip(why, rollback.MaxSummary),
		Count: len(signals), Last: signals[0].Received,
	})
}

// refuse counts refused alerts, and logs them: of a flood from one sender for one reason, the
// first ones and how many more there were.
func (in *intake) refuse(ctx context.Context, from rollback.LineSource, r rollback.Refusal) {
	in.metrics.alerts.WithLabelValues(string(r.Verdict)).Add(float64(r.Count))
	in.board.AddRefusal(r)
	say, others := in.refused.Of(from).Count(time.Now())
	if others > 0 {
		in.log.WarnContext(ctx, "more alerts were refused", "peer", from.Sender, "reason", from.Reason, "count", others)
	}
	if say {
		in.log.WarnContext(ctx, "alert refused", "peer", from.Sender, "verdict", r.Verdict, "namespace", r.Namespace,
			"release", r.Release, "alert", r.Alert, "reason", r.Reason)
	}
}
