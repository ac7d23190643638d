package rollback

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// admit reads one alert and refuses what may not be touched, before anything is
// asked of the cluster.
func (e *Engine) admit(ctx context.Context, alert Alert, now time.Time) (Key, Accusation, bool) {
	if e.watchdog(alert) {
		return Key{}, Accusation{}, false
	}
	k, acc, err := alert.Read(now)
	reason, why := e.policy.refuses(alert, k, err)
	if reason == "" {
		return k, acc, true
	}
	e.metrics.ignored.WithLabelValues(reason).Inc()
	if reason == ignoredNoLabel {
		return k, acc, false
	}
	name := clip(alert.Labels[labelAlertname], maxName)
	e.metrics.alerts.WithLabelValues(string(NotAllowed)).Inc()
	e.board.refuse(Refusal{Key: k, Verdict: NotAllowed, Alert: name, Reason: why, Last: now})
	e.log.WarnContext(ctx, "alert refused", "verdict", NotAllowed, "namespace", k.Namespace,
		"release", k.Release, "alert", name, "reason", why)
	return k, acc, false
}

// watchdog counts a watchdog, by the namespace that it stands for, and reports
// whether it was one that may be counted: any other is read as every alert is, and
// refused.
func (e *Engine) watchdog(alert Alert) bool {
	namespace := alert.Labels[labelNamespace]
	if alert.Labels[labelLevel] != levelWatchdog || !e.policy.SameCluster(alert.Labels[labelCluster]) ||
		!slices.Contains(e.policy.Namespaces(), namespace) {
		return false
	}
	if !alert.Resolved {
		e.metrics.watchdogs.WithLabelValues(namespace).Inc()
	}
	return true
}

// refuses says why an alert, read as k with that error, leads to no decision, in a
// word and in a sentence; "" if it may lead to one.
func (p Policy) refuses(alert Alert, k Key, err error) (reason, why string) {
	var label *LabelError
	switch {
	case errors.Is(err, ErrNotOurs):
		return ignoredNoLabel, err.Error()
	case errors.As(err, &label):
		return ignoredBadLabel, err.Error()
	case !p.SameCluster(alert.Labels[labelCluster]):
		return ignoredCluster, fmt.Sprintf("label cluster=%q, BACKOUT_CLUSTER=%q: they must be equal",
			clip(alert.Labels[labelCluster], maxName), p.Cluster)
	case !p.Allows(k):
		return ignoredNotAllowed, "not opted in; add " + k.String() + " to BACKOUT_RELEASES"
	}
	return "", ""
}

// unknown refuses alerts about a release that does not exist.
func (e *Engine) unknown(ctx context.Context, k Key, accs []Accusation, why string) {
	e.metrics.alerts.WithLabelValues(string(UnknownRelease)).Add(float64(len(accs)))
	e.board.refuse(Refusal{
		Key: k, Verdict: UnknownRelease, Alert: accs[0].Alert, Reason: clip(why, maxSummary), Count: len(accs), Last: accs[0].Received,
	})
	e.log.WarnContext(ctx, "alert refused", "verdict", UnknownRelease, "namespace", k.Namespace,
		"release", k.Release, "alert", accs[0].Alert, "reason", why)
}
