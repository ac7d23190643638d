package prom

import (
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/prometheus/common/model"

	"github.com/upcommerce/backout/rollback"
)

// query asks about one alert of one release since a time of this machine's clock.
type query struct {
	alert, namespace, release string
	// level is that of the signal. It is no part of the match: an alert can get another one
	// on its way.
	level rollback.Level
	// version is "" if every version matches.
	version string
	at      time.Time
}

// margin is how much earlier than query.at a firing alert counts too: the replica that
// received the alert may have another clock than the one that queries, and a query takes
// a moment to arrive.
const margin = 10 * time.Second

// The labels of the metrics that Prometheus writes about alerts: its own, and those of
// backout's alerts.
const (
	stateFiring = "firing"

	labelState     = "alertstate"
	labelNamespace = "namespace"
	labelRelease   = "release"
	labelVersion   = "version"
	labelLevel     = rollback.LabelLevel
)

// promQL is the query to be evaluated at the server's own present. It has three parts:
// the alerts that fired from margin before q.at until now, their active-since times, and
// one sample without labels, which has the server's time. Prometheus writes a sample at
// each evaluation: a range alone would miss the state at its beginning if evaluations are
// far apart, and an instant alone would miss what comes after.
//
// Like the rules API, it also finds series that lack a label; matches sorts them out.
func (q query) promQL(now time.Time) string {
	age := model.Duration(max(now.Sub(q.at), 0) + margin).String()
	labels := fmt.Sprintf("%s=%q,%s=~%q,%s=~%q", model.AlertNameLabel, q.alert,
		labelNamespace, orAbsent(q.namespace), labelRelease, orAbsent(q.release))
	if q.version != "" {
		labels += fmt.Sprintf(",%s=~%q", labelVersion, orAbsent(q.version))
	}
	fired := fmt.Sprintf("ALERTS{%s=%q,%s}", labelState, stateFiring, labels)
	since := fmt.Sprintf("ALERTS_FOR_STATE{%s}", labels)
	return fmt.Sprintf("max_over_time(%[1]s[%[3]s]) or %[1]s offset %[3]s or min_over_time(%[2]s[%[3]s]) or %[2]s offset %[3]s or vector(0)",
		fired, since, age)
}

// orAbsent is a regular expression for the value or no label at all.
func orAbsent(value string) string { return "|" + regexp.QuoteMeta(value) }

// matches reports whether a series of the alert is the one of the query; if it may be,
// missing is the label that it lacks.
func (q query) matches(labels model.LabelSet) (ok bool, missing string) {
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
			missing = string(l.name)
		default:
			return false, ""
		}
	}
	return missing == "", missing
}

// comparableVersion is the version if it is as the alert gave it, and "" if the signal
// may have a shortened or cleaned one: with a version that no series has, every alert
// would be quiet.
func comparableVersion(version string) string {
	if strings.ContainsAny(version, "…? ") {
		return ""
	}
	return version
}
