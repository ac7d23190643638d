package rollback

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
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
	// IgnoredNoData: Grafana sends the alert because its rule has no data, or fails.
	IgnoredNoData IgnoreReason = "no-data"
)

const (
	// labelExportedNamespace is where Prometheus moves the label namespace of a series that it
	// scrapes, unless it honors the labels of its target.
	labelExportedNamespace = "exported_namespace"

	// Grafana names an alert about a rule without data, and one about a rule that fails, itself;
	// the name of the rule is then in the label rulename. Where the rule says to fire in that
	// case, the reason is in an annotation.
	grafanaNoData      = "DatasourceNoData"
	grafanaError       = "DatasourceError"
	grafanaRuleName    = "rulename"
	grafanaStateReason = "grafana_state_reason"
)

// IgnoreReasons returns every reason.
func IgnoreReasons() []IgnoreReason {
	return []IgnoreReason{IgnoredNoLabel, IgnoredBadLabel, IgnoredSender, IgnoredCluster, IgnoredNotAllowed, IgnoredNoData}
}

// Refuse returns why an alert leads to no decision, in a word and in a sentence with a
// hint; both are "" if the alert may lead to one. k and err are what Alert.Read returned
// for it.
func (p Policy) Refuse(alert Alert, k Key, err error) (reason IgnoreReason, why string) {
	var label *LabelError
	exported, noData := exportedNamespace(alert.Labels), alert.noData()
	switch {
	case errors.Is(err, ErrNotOurs):
		return IgnoredNoLabel, err.Error()
	case errors.As(err, &label) && alert.Labels[LabelLevel] == LevelWatchdog:
		return IgnoredBadLabel, fmt.Sprintf("a watchdog counts if its namespace, %q, is one of an opted-in release, if its sender may post alerts about it, "+
			"and if its cluster is %q; correct its rule", Clip(Printable(alert.Labels[LabelNamespace]), MaxName), p.Cluster)
	case errors.As(err, &label):
		return IgnoredBadLabel, err.Error()
	case !alert.Sender.MaySpeakFor(k.Namespace):
		return IgnoredSender, fmt.Sprintf("the %s may not be used for alerts about namespace %s; %s",
			alert.Sender.name(), k.Namespace, cmp.Or(exported, "BACKOUT_TOKENS names the namespaces of each token"))
	case !p.SameCluster(alert.Labels[LabelCluster]):
		return IgnoredCluster, fmt.Sprintf("label cluster=%q, BACKOUT_CLUSTER=%q: they must be equal",
			Clip(alert.Labels[LabelCluster], MaxName), p.Cluster)
	case !p.Allows(k):
		return IgnoredNotAllowed, "not opted in; " + cmp.Or(exported, "add "+k.String()+" to BACKOUT_RELEASES")
	case noData != "":
		return IgnoredNoData, noData
	}
	return "", ""
}

// NotAboutARelease says why an alert that a running backout ignores, or only counts, is about no
// release, which receiver sends it, and what to do; "" for an alert about a release.
func (a Alert) NotAboutARelease() string {
	name := Clip(Printable(a.Labels[LabelAlertname]), MaxName)
	receiver := "the receiver"
	if a.Route != "" {
		receiver = "receiver " + Clip(Printable(a.Route), MaxName)
	}
	switch level, ours := a.Labels[LabelLevel]; {
	case !ours:
		return fmt.Sprintf("the alert %s of %s has no backout label, and backout ignores it; "+
			`give its rule the label, or keep it away with the matcher backout!="" on the route to %s`, name, receiver, receiver)
	case level == LevelWatchdog:
		return fmt.Sprintf("the alert %s of %s is a watchdog: backout counts it, and decides nothing; take a payload with an alert about a release", name, receiver)
	default:
		return ""
	}
}

// exportedNamespace says, where Prometheus has moved the namespace of a scraped series to the
// label exported_namespace, that the label namespace is that of the exporter, and what to do;
// "" otherwise.
func exportedNamespace(labels map[string]string) string {
	exported := labels[labelExportedNamespace]
	if exported == "" || exported == labels[LabelNamespace] {
		return ""
	}
	return fmt.Sprintf("the label namespace=%q is that of the exporter, and exported_namespace=%q is that of its series: "+
		"set honorLabels in the exporter's ServiceMonitor, or take namespace from exported_namespace in the alert rule",
		Clip(labels[LabelNamespace], MaxName), Clip(Printable(exported), MaxName))
}

// noData says that Grafana sends a firing alert for want of data or because of an error, and what
// to do; "" for any other alert. No data is not bad data.
func (a Alert) noData() string {
	reason := a.Annotations[grafanaStateReason]
	if _, renamed := a.Labels[grafanaRuleName]; renamed {
		if name := a.Labels[LabelAlertname]; name == grafanaNoData || name == grafanaError {
			reason = name
		}
	}
	if a.Resolved || !strings.Contains(reason, "NoData") && !strings.Contains(reason, "Error") {
		return ""
	}
	return fmt.Sprintf("Grafana sends the alert because its rule has no data, or fails (%s), which proves nothing about the canary; "+
		"set the rule's state for both cases to Normal", Clip(Printable(reason), MaxName))
}
