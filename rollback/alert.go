package rollback

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// The labels of an alert that backout reads, and the annotations that it keeps. They
// select a release and a level; they never contain a command.
const (
	LabelLevel     = "backout"
	LabelNamespace = "namespace"
	labelRelease   = "release"
	LabelCluster   = "cluster"
	labelRevision  = "revision"
	labelVersion   = "version"
	LabelAlertname = "alertname"

	annotationSummary     = "summary"
	annotationDescription = "description"
)

// Bounds in runes on the texts that are copied from an alert into a record.
const (
	MaxName    = 128
	MaxSummary = 300
	// maxDescription leaves room for the values that a description reports.
	maxDescription = 600
	// maxLink bounds a URL in bytes; a longer one is left out.
	maxLink = 2000
)

// Key names a Helm release.
type Key struct {
	Namespace string `json:"namespace"`
	Release   string `json:"release"`
}

// String returns namespace/release.
func (k Key) String() string { return k.Namespace + "/" + k.Release }

// Compare orders keys by namespace, then by release.
func (k Key) Compare(o Key) int {
	return cmp.Or(strings.Compare(k.Namespace, o.Namespace), strings.Compare(k.Release, o.Release))
}

// Level is how much an alert requests.
type Level string

// The levels, weakest first. The strongest signal of a record counts.
const (
	LevelObserve  Level = "observe"
	LevelShed     Level = "shed"
	LevelRollback Level = "rollback"
)

// LevelWatchdog is, instead of a level, the value of the label of an alert that always fires: it is
// about no release and shows that alerts reach backout.
const LevelWatchdog = "watchdog"

// Valid reports whether l is a level.
func (l Level) Valid() bool { return l.rank() > 0 }

// WeakerThan reports whether o requests more than l. A word that is not a level is weaker
// than every level.
func (l Level) WeakerThan(o Level) bool { return l.rank() < o.rank() }

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

// Alert is one alert of a webhook request, as Alertmanager sent it.
type Alert struct {
	Labels      map[string]string
	Annotations map[string]string
	// Fingerprint is Alertmanager's hash of the label set. With StartsAt it identifies one
	// episode of the alert.
	Fingerprint string
	StartsAt    time.Time
	Resolved    bool
	// GeneratorURL leads to the alert's expression in Prometheus.
	GeneratorURL string
	// Route is the name of Alertmanager's receiver.
	Route string
	// Sender posted the alert; nil if backout does not authenticate senders.
	Sender *Sender
	// OfGrafana says that the payload is one of Grafana. It decides nothing: a sender can write any.
	OfGrafana bool
}

// ErrNotOurs says that an alert has no backout label: it is meant for another receiver.
var ErrNotOurs = errors.New("the alert has no backout label")

// LabelError says which label of an alert is invalid, and which values are valid.
type LabelError struct {
	Label, Value, Want string
}

// Error names the label, its value and the valid values.
func (e *LabelError) Error() string {
	return fmt.Sprintf("label %s=%q: want %s; correct the alert rule", e.Label, Clip(e.Value, MaxName), e.Want)
}

var (
	// Kubernetes namespaces are DNS labels; Helm limits release names to 53
	// characters of a DNS subdomain.
	namespacePattern = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)
	releasePattern   = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`)
)

const maxReleaseName = 53

// IsNamespace reports whether the text may be the name of a namespace.
func IsNamespace(text string) bool { return namespacePattern.MatchString(text) }

// Read returns the release that an alert received at now is about, and its signal. It
// returns ErrNotOurs if the alert has no backout label, and a *LabelError if a label has
// a value that names nothing that can exist; a key that it returns with an error is valid
// or empty. It does not check whether backout may change the release: that is
// Policy.Refuse.
func (a Alert) Read(now time.Time) (Key, Signal, error) {
	level, ours := a.Labels[LabelLevel]
	if !ours {
		return Key{}, Signal{}, ErrNotOurs
	}
	key := Key{Namespace: a.Labels[LabelNamespace], Release: a.Labels[labelRelease]}
	if !IsNamespace(key.Namespace) {
		return Key{}, Signal{}, &LabelError{LabelNamespace, key.Namespace, "the name of a namespace"}
	}
	if !isRelease(key.Release) {
		return Key{}, Signal{}, &LabelError{labelRelease, key.Release, "the name of a Helm release"}
	}
	if !Level(level).Valid() {
		return key, Signal{}, &LabelError{LabelLevel, level, "rollback, shed or observe"}
	}
	signal := Signal{
		Alert:       Clip(a.Labels[LabelAlertname], MaxName),
		Level:       Level(level),
		Sender:      a.Sender.name(),
		Confirm:     a.Sender.confirmBy(),
		Route:       Clip(Printable(a.Route), MaxName),
		Fingerprint: Clip(a.Fingerprint, MaxName),
		Version:     Clip(a.Labels[labelVersion], MaxName),
		Summary:     Clip(a.Annotations[annotationSummary], MaxSummary),
		Description: Clip(a.Annotations[annotationDescription], maxDescription),
		Link:        link(a.GeneratorURL),
		StartsAt:    a.StartsAt.UTC(),
		Received:    now.UTC(),
		LastSeen:    now.UTC(),
	}
	if rev, named := a.Labels[labelRevision]; named {
		n, err := strconv.Atoi(rev)
		if err != nil || n < 1 {
			return key, Signal{}, &LabelError{labelRevision, rev, "a Helm revision, a whole number from 1"}
		}
		signal.Revision = n
	}
	if a.Resolved {
		signal.Resolved = now.UTC()
	}
	return key, signal, nil
}

// link returns the URL that an operator can follow, without a password; "" if text is not
// an HTTP URL.
func link(text string) string {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") || len(text) > maxLink {
		return ""
	}
	u.User = nil
	return u.String()
}
