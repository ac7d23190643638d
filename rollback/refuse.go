package rollback

import (
	"errors"
	"fmt"
)

// IgnoreReason is the one word for why an alert led to no decision. It is the label
// reason of backout_alerts_ignored_total.
type IgnoreReason string

// The reasons, a closed set: IgnoreReasons lists them.
const (
	// IgnoredNoLabel: the alert has no label backout, so it is not for backout.
	IgnoredNoLabel IgnoreReason = "no-backout-label"
	// IgnoredBadLabel: a label of the alert is not valid; the error is a LabelError.
	IgnoredBadLabel IgnoreReason = "bad-label"
	// IgnoredSender: the sender may not post alerts about the namespace.
	IgnoredSender IgnoreReason = "sender-not-allowed"
	// IgnoredCluster: the alert comes from another cluster.
	IgnoredCluster IgnoreReason = "other-cluster"
	// IgnoredNotAllowed: the release is not opted in.
	IgnoredNotAllowed IgnoreReason = "release-not-opted-in"
)

// IgnoreReasons returns every reason.
func IgnoreReasons() []IgnoreReason {
	return []IgnoreReason{IgnoredNoLabel, IgnoredBadLabel, IgnoredSender, IgnoredCluster, IgnoredNotAllowed}
}

// Refuse returns why an alert leads to no decision, in a word and in a sentence with a
// hint; both are "" if the alert may lead to one. k and err are what Alert.Read returned
// for it.
func (p Policy) Refuse(alert Alert, k Key, err error) (reason IgnoreReason, why string) {
	var label *LabelError
	switch {
	case errors.Is(err, ErrNotOurs):
		return IgnoredNoLabel, err.Error()
	case errors.As(err, &label):
		return IgnoredBadLabel, err.Error()
	case !alert.Sender.MaySpeakFor(k.Namespace):
		return IgnoredSender, fmt.Sprintf("the %s may not be used for alerts about namespace %s; BACKOUT_TOKENS names the namespaces of each token",
			alert.Sender.name(), k.Namespace)
	case !p.SameCluster(alert.Labels[LabelCluster]):
		return IgnoredCluster, fmt.Sprintf("label cluster=%q, BACKOUT_CLUSTER=%q: they must be equal",
			Clip(alert.Labels[LabelCluster], MaxName), p.Cluster)
	case !p.Allows(k):
		return IgnoredNotAllowed, "not opted in; add " + k.String() + " to BACKOUT_RELEASES"
	}
	return "", ""
}
