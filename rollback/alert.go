package rollback

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// The labels by which an alert speaks to backout, and the annotations that are
// kept. They select; they never command.
const (
	labelLevel     = "backout"
	labelNamespace = "namespace"
	labelRelease   = "release"
	labelCluster   = "cluster"
	labelRevision  = "revision"
	labelVersion   = "version"
	labelAlertname = "alertname"

	annotationSummary     = "summary"
	annotationDescription = "description"
)

// Bounds in runes on the texts that are copied from an alert into a record.
const (
	maxName    = 128
	maxSummary = 300
	// maxDescription is for the values that an alert tells.
	maxDescription = 600
	// maxLink bounds an address in bytes; a longer one is left out.
	maxLink = 2000
)

// Key names a Helm release.
type Key struct {
	Namespace string `json:"namespace"`
	Release   string `json:"release"`
}

// String returns namespace/release.
func (k Key) String() string { return k.Namespace + "/" + k.Release }

// Level is how much an alert asks for.
type Level string

// The levels, weakest first. The strongest accusation of a record wins.
const (
	LevelObserve  Level = "observe"
	LevelShed     Level = "shed"
	LevelRollback Level = "rollback"
)

// levelWatchdog is what an alert has in the place of a level that fires always: it
// accuses nobody and shows that alerts get here.
const levelWatchdog = "watchdog"

func (l Level) rank() int {
	switch l {
	case LevelObserve:
		return 1
	case LevelShed:
		return 2
	case LevelRollback:
		return 3
	default:
		return 0
	}
}

// Alert is one alert of a webhook, as Alertmanager sent it.
type Alert struct {
	Labels      map[string]string
	Annotations map[string]string
	// Fingerprint is Alertmanager's hash of the label set. With StartsAt it
	// names one episode of the alert.
	Fingerprint string
	StartsAt    time.Time
	Resolved    bool
	// GeneratorURL leads to the alert's expression in Prometheus.
	GeneratorURL string
}

// Accusation is what one alert says against a release, reduced to what backout
// uses. It is stored in the record.
type Accusation struct {
	Alert string `json:"alert"`
	// By is the person who gave this order; "" for an alert.
	By          string `json:"by,omitempty"`
	Level       Level  `json:"level"`
	Fingerprint string `json:"fingerprint"`
	// Revision and Version are what the alert names, 0 and "" if it does not.
	Revision int    `json:"revision,omitempty"`
	Version  string `json:"version,omitempty"`
	Summary  string `json:"summary,omitempty"`
	// Description is the alert's own, with its values; Link leads to its expression.
	// Both are for people only.
	Description string `json:"description,omitempty"`
	Link        string `json:"link,omitempty"`
	// StartsAt is since when the alert fires.
	StartsAt time.Time `json:"startsAt"`
	// Received is when backout first heard of this episode, LastSeen when it was
	// last repeated (written at most every 30 s).
	Received time.Time `json:"received"`
	LastSeen time.Time `json:"lastSeen"`
	// Resolved is when Alertmanager said that the alert is over; zero while it
	// fires.
	Resolved time.Time `json:"resolved,omitzero"`
	// Confirmation is what Prometheus said about it as of its receipt; nil as long
	// as it was not asked.
	Confirmation *Confirmation `json:"confirmation,omitempty"`
}

// Episode names one firing of one alert, however often it is delivered.
type Episode struct {
	Fingerprint string
	StartsAt    time.Time
}

// Episode returns the identity of a's firing.
func (a Accusation) Episode() Episode {
	return Episode{Fingerprint: a.Fingerprint, StartsAt: a.StartsAt.UTC()}
}

// ErrNotOurs says that an alert carries no backout label: it is meant for
// somebody else.
var ErrNotOurs = errors.New("the alert has no backout label")

// LabelError says which label of an alert cannot be used, and why.
type LabelError struct {
	Label, Value, Want string
}

// Error names the label, its value and what would be right.
func (e *LabelError) Error() string {
	return fmt.Sprintf("label %s=%q: want %s; correct the alert rule", e.Label, clip(e.Value, maxName), e.Want)
}

var (
	// Kubernetes namespaces are DNS labels; Helm limits release names to 53
	// characters of a DNS subdomain.
	namespacePattern = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)
	releasePattern   = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`)
)

const maxReleaseName = 53

// Read turns an alert received at now into the release it accuses and the
// accusation. It returns ErrNotOurs if there is no backout label, and a
// *LabelError if a label can name nothing that exists; a key that it returns with
// an error is a valid one or empty. It does not check whether the release may be
// touched: that is Policy.Allows.
func (a Alert) Read(now time.Time) (Key, Accusation, error) {
	level, ours := a.Labels[labelLevel]
	if !ours {
		return Key{}, Accusation{}, ErrNotOurs
	}
	key := Key{Namespace: a.Labels[labelNamespace], Release: a.Labels[labelRelease]}
	if !namespacePattern.MatchString(key.Namespace) {
		return Key{}, Accusation{}, &LabelError{labelNamespace, key.Namespace, "the name of a namespace"}
	}
	if len(key.Release) > maxReleaseName || !releasePattern.MatchString(key.Release) {
		return Key{}, Accusation{}, &LabelError{labelRelease, key.Release, "the name of a Helm release"}
	}
	if Level(level).rank() == 0 {
		return key, Accusation{}, &LabelError{labelLevel, level, "rollback, shed or observe"}
	}
	acc := Accusation{
		Alert:       clip(a.Labels[labelAlertname], maxName),
		Level:       Level(level),
		Fingerprint: clip(a.Fingerprint, maxName),
		Version:     clip(a.Labels[labelVersion], maxName),
		Summary:     clip(a.Annotations[annotationSummary], maxSummary),
		Description: clip(a.Annotations[annotationDescription], maxDescription),
		Link:        link(a.GeneratorURL),
		StartsAt:    a.StartsAt.UTC(),
		Received:    now.UTC(),
		LastSeen:    now.UTC(),
	}
	if rev, named := a.Labels[labelRevision]; named {
		n, err := strconv.Atoi(rev)
		if err != nil || n < 1 {
			return key, Accusation{}, &LabelError{labelRevision, rev, "a Helm revision, a whole number from 1"}
		}
		acc.Revision = n
	}
	if a.Resolved {
		acc.Resolved = now.UTC()
	}
	return key, acc, nil
}

// link returns an address that people can follow, "" if text is none.
func link(text string) string {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") || len(text) > maxLink {
		return ""
	}
	u.User = nil
	return u.String()
}

// clip bounds s to n runes and replaces what a terminal, a log or a reader's eye
// would be misled by: control characters, line separators and changes of
// direction.
func clip(s string, n int) string {
	s = strings.ToValidUTF8(s, "?")
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.In(r, unicode.Bidi_Control, unicode.Zl, unicode.Zp) {
			return ' '
		}
		return r
	}, s)
	if runes := []rune(s); len(runes) > n {
		return string(runes[:n-1]) + "…"
	}
	return s
}
