package prom

import (
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/prometheus/common/model"
)

// question is one alert of one release, as of one time of this machine's clock.
type question struct {
	alert, namespace, release string
	// version is "" if any will do.
	version string
	at      time.Time
}

// margin is how much earlier than the time in question a firing alert counts
// too: the replica that received the alert may have another clock than the one
// that asks, and a question takes a moment to arrive.
const margin = 10 * time.Second

// The metrics that Prometheus writes about alerts, and the labels of contract.
const (
	stateFiring = "firing"

	labelState     = "alertstate"
	labelNamespace = "namespace"
	labelRelease   = "release"
	labelVersion   = "version"
)

// text is the query to be evaluated at the server's own present. It has three
// parts: what fired from margin before q.at until now, the active-since times of
// that, and one sample without labels, which tells the server's time. A sample is
// written at each evaluation: a range alone would miss the state at its beginning
// if evaluations are far apart, and an instant alone what comes after.
//
// Like the rules API it also finds series that lack a label; kindOf sorts them.
func (q question) text(now time.Time) string {
	age := model.Duration(max(now.Sub(q.at), 0) + margin).String()
	labels := fmt.Sprintf("%s=%q,%s=~%q,%s=~%q", model.AlertNameLabel, q.alert,
		labelNamespace, orNone(q.namespace), labelRelease, orNone(q.release))
	if q.version != "" {
		labels += fmt.Sprintf(",%s=~%q", labelVersion, orNone(q.version))
	}
	fired := fmt.Sprintf("ALERTS{%s=%q,%s}", labelState, stateFiring, labels)
	since := fmt.Sprintf("ALERTS_FOR_STATE{%s}", labels)
	return fmt.Sprintf("max_over_time(%[1]s[%[3]s]) or %[1]s offset %[3]s or min_over_time(%[2]s[%[3]s]) or %[2]s offset %[3]s or vector(0)",
		fired, since, age)
}

// orNone is a regular expression for the value or no label at all.
func orNone(value string) string { return "|" + regexp.QuoteMeta(value) }

// isAccused reports whether a series of the alert is the one in question, and if
// that cannot be told, which label it lacks.
func (q question) isAccused(labels model.LabelSet) (accused bool, lacks string) {
	for _, l := range []struct {
		name model.LabelName
		want string
	}{
		{labelNamespace, q.namespace},
		{labelRelease, q.release},
		{labelVersion, q.version},
	} {
		got := string(labels[l.name])
		switch {
		case l.want == "" || got == l.want:
		case got == "":
			lacks = string(l.name)
		default:
			return false, ""
		}
	}
	return lacks == "", lacks
}

// matchable is the version if it is as the alert gave it, and "" if it may have
// been shortened or cleaned on its way into the accusation: a version that no
// series has would make every alert quiet.
func matchable(version string) string {
	if strings.ContainsAny(version, "…? ") {
		return ""
	}
	return version
}
