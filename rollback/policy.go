package rollback

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"path"
	"slices"
	"strings"
	"time"
)

// Mode limits everything that backout does.
type Mode string

// ModeAct does what the decisions say. ModeObserve decides and records, and changes
// nothing.
const (
	ModeAct     Mode = "act"
	ModeObserve Mode = "observe"
)

// Policy limits what backout may do. go-envconfig reads its tags under the prefix
// BACKOUT_.
type Policy struct {
	Releases        []string      `env:"RELEASES" desc:"Releases that backout may change, as namespace/name, separated by commas. The name may be a glob (canary-demo/*), the namespace is literal. Empty: none."`
	Mode            Mode          `env:"MODE, default=act" desc:"act, or observe: decide and record, but change nothing."`
	Cluster         string        `env:"CLUSTER" desc:"Name of this cluster. Alerts must have it as their cluster label. Empty: alerts with a cluster label are refused."`
	Track           Track         `env:"TRACK_LABEL, default=track=canary" desc:"Label of the canary's pods and its values, as LABEL=VALUE, with further values after commas, such as role=canary,preview. Every other value, such as baseline, is the stable track's. The shipped alert rules read the label track of the metrics: docs/routers.md says how to set it."`
	Settle          time.Duration `env:"SETTLE, default=7m" desc:"Time after a revision's deployment until an alert that began before it counts: the longest rule window + keep_firing_for + one evaluation."`
	Repeat          time.Duration `env:"REPEAT, default=6m" desc:"Time within which Alertmanager repeats an alert that fires: repeat_interval + two group_intervals of its route. Without Prometheus, backout acts on an alert that had to wait only if it was repeated within this time. The chart sets it from alertmanagerConfig."`
	Cooldown        time.Duration `env:"COOLDOWN, default=10m" desc:"Minimum time between two rollbacks of a release; within it, backout sets the canary's weight to zero and holds it."`
	Bake            time.Duration `env:"BAKE, default=24h" desc:"Age beyond which backout does not roll a revision back; it sets the canary's weight to zero and holds it."`
	OperationLimit  time.Duration `env:"OPERATION_LIMIT, default=1h" desc:"Time after which a Helm operation in flight is reported as stuck."`
	ConfirmLimit    time.Duration `env:"CONFIRM_LIMIT, default=2m" desc:"How long a rollback waits for Prometheus to confirm the alert; then the canary is held."`
	StormReleases   int           `env:"STORM_RELEASES, default=5" desc:"Number of releases with signals within BACKOUT_STORM_WINDOW that makes a storm, if that is more than 1% of the opted-in releases; more than that within an hour are a storm, too. The canaries are not the cause, and backout changes nothing until no new release has got a signal for a window."`
	StormWindow     time.Duration `env:"STORM_WINDOW, default=10m" desc:"Window of BACKOUT_STORM_RELEASES."`
	MaxLoad         float64       `env:"MAX_LOAD, default=2" desc:"Limit on the load of a stable pod without the canary, as a multiple of its load with it; backout does not shed a canary if the load would exceed it."`
	Allow           []DangerKind  `env:"ALLOW" desc:"Dangers that a rollback may take, separated by commas: pvc (it deletes a PersistentVolumeClaim), data (it deletes an object of a kind that may hold data), job (it runs a Job again), secret (it restores an old value), hook (it does not undo an upgrade hook), stable (it replaces the stable track's pods), replicas (it lowers an HPA's maxReplicas below the pods that run), pods (the target's pods need an object that does not exist)."`
	RollbackTimeout time.Duration `env:"ROLLBACK_TIMEOUT, default=5m" desc:"Timeout of each Helm hook of a rollback."`
	Verify          time.Duration `env:"VERIFY, default=2m" desc:"Time after a rollback before backout begins to verify that it helped."`
	VerifyLimit     time.Duration `env:"VERIFY_LIMIT, default=10m" desc:"Time after a rollback when the result is final: if the alert still fires then, the outcome is not-recovered. An answer that is missing then is asked for again, for BACKOUT_CONFIRM_LIMIT."`
	TrafficFloor    float64       `env:"TRAFFIC_FLOOR, default=0.1" desc:"Requests per second that the canary has to get before a quiet alert proves recovery."`
	KeepRecords     int           `env:"KEEP_RECORDS, default=10" desc:"Records kept per release, besides those of known bad content that is still in the history."`
	KeepRecordsFor  time.Duration `env:"KEEP_RECORDS_FOR, default=2160h" desc:"How long records are kept, with the same exception. Older ones are deleted when a newer record of their release is closed."`

	// Windows has the sum of Settle for the own rule of single alerts, by their names.
	Windows map[string]time.Duration `env:"WINDOWS, default=CanaryErrorRatio:3m,CanaryLatency:3m,CanaryLatencyTail:3m,CanaryCrashLooping:3m,CanaryImagePull:4m,CanaryNotReady:3m,CanarySilent:3m,CanaryUnreachable:3m" desc:"How far single alerts look back, as ALERT:DURATION, separated by commas: the longest window of the alert's rule + keep_firing_for + one evaluation. BACKOUT_SETTLE, if that is shorter, and for every other alert. An alert counts only once no earlier revision has served what it names for that long."`
}

// Validate returns every mistake in the policy, each by the name of its variable.
func (p Policy) Validate() error {
	var errs []error
	if p.Mode != ModeAct && p.Mode != ModeObserve {
		errs = append(errs, fmt.Errorf("BACKOUT_MODE=%q: want act or observe", p.Mode))
	}
	for _, entry := range p.Releases {
		if err := validEntry(entry); err != nil {
			errs = append(errs, fmt.Errorf("BACKOUT_RELEASES: %w", err))
		}
	}
	for _, d := range []struct {
		name  string
		value time.Duration
	}{
		{"SETTLE", p.Settle},
		{"REPEAT", p.Repeat},
		{"COOLDOWN", p.Cooldown},
		{"BAKE", p.Bake},
		{"OPERATION_LIMIT", p.OperationLimit},
		{"CONFIRM_LIMIT", p.ConfirmLimit},
		{"STORM_WINDOW", p.StormWindow},
		{"ROLLBACK_TIMEOUT", p.RollbackTimeout},
		{"VERIFY", p.Verify},
		{"VERIFY_LIMIT", p.VerifyLimit},
		{"KEEP_RECORDS_FOR", p.KeepRecordsFor},
	} {
		if d.value <= 0 {
			errs = append(errs, fmt.Errorf("BACKOUT_%s=%s: want a duration above zero, such as 5m", d.name, d.value))
		}
	}
	errs = append(errs, p.validWindows()...)
	for _, n := range []struct {
		name         string
		value, least float64
	}{
		{"STORM_RELEASES", float64(p.StormReleases), 2},
		{"KEEP_RECORDS", float64(p.KeepRecords), 1},
		{"MAX_LOAD", p.MaxLoad, 1},
		{"TRAFFIC_FLOOR", p.TrafficFloor, 0},
	} {
		if !(n.value >= n.least) { // NaN is refused, too
			errs = append(errs, fmt.Errorf("BACKOUT_%s=%g: want at least %g", n.name, n.value, n.least))
		}
	}
	for _, kind := range p.Allow {
		if !slices.Contains(AllowableDangers(), kind) {
			errs = append(errs, fmt.Errorf("BACKOUT_ALLOW: %q: want some of %v", kind, AllowableDangers()))
		}
	}
	return errors.Join(append(errs, p.validOrder())...)
}

// validWindows checks the windows of single alerts.
func (p Policy) validWindows() []error {
	var errs []error
	for _, alert := range slices.Sorted(maps.Keys(p.Windows)) {
		if window := p.Windows[alert]; window <= 0 {
			errs = append(errs, fmt.Errorf("BACKOUT_WINDOWS=%s:%s: want a duration above zero, such as %s:3m", alert, window, alert))
		}
	}
	return errs
}

// validOrder checks the durations against each other.
func (p Policy) validOrder() error {
	var errs []error
	for _, o := range []struct {
		lesser, greater string
		less, more      time.Duration
		why             string
	}{
		{"SETTLE", "BAKE", p.Settle, p.Bake, "no revision would ever be rolled back"},
		{"CONFIRM_LIMIT", "BAKE", p.ConfirmLimit, p.Bake, "a revision would be too old before its alert is confirmed"},
		{"VERIFY", "VERIFY_LIMIT", p.Verify, p.VerifyLimit, "no rollback could be seen to have helped"},
		{"COOLDOWN", "KEEP_RECORDS_FOR", p.Cooldown, p.KeepRecordsFor, "backout would forget the last rollback too soon"},
		{"BAKE", "KEEP_RECORDS_FOR", p.Bake, p.KeepRecordsFor, "backout would forget the last rollback too soon"},
	} {
		if o.less > 0 && o.more > 0 && o.less >= o.more {
			errs = append(errs, fmt.Errorf("BACKOUT_%s=%s is not shorter than BACKOUT_%s=%s: %s", o.lesser, o.less, o.greater, o.more, o.why))
		}
	}
	return errors.Join(errs...)
}

func validEntry(entry string) error {
	namespace, name, found := strings.Cut(entry, "/")
	if !found || !namespacePattern.MatchString(namespace) {
		return fmt.Errorf("%q: want namespace/name with a literal namespace, such as canary-demo/*", entry)
	}
	if _, err := path.Match(name, "x"); err != nil || name == "" || strings.Contains(name, "/") {
		return fmt.Errorf("%q: want a release name or a glob after the namespace, such as canary-demo/*", entry)
	}
	return nil
}

// Allows reports whether the release is opted in.
func (p Policy) Allows(k Key) bool {
	return slices.ContainsFunc(p.Releases, func(entry string) bool {
		namespace, glob, _ := strings.Cut(entry, "/")
		matched, err := path.Match(glob, k.Release)
		return err == nil && matched && namespace == k.Namespace
	})
}

// SameCluster reports whether an alert with that cluster label, "" if it has none, comes
// from the cluster that backout works on.
func (p Policy) SameCluster(label string) bool { return label == p.Cluster }

// Allowed reports whether the operator allows a danger of that kind.
func (p Policy) Allowed(d Danger) bool { return slices.Contains(p.Allow, d.Kind) }

// Namespaces returns the namespaces of the opted-in releases, sorted, each once.
func (p Policy) Namespaces() []string {
	var names []string
	for _, entry := range p.Releases {
		namespace, _, _ := strings.Cut(entry, "/")
		names = append(names, namespace)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// LogValue shows the policy in one group; it has no secrets.
func (p Policy) LogValue() slog.Value {
	return slog.GroupValue(
		slog.Any("releases", p.Releases), slog.String("mode", string(p.Mode)),
		slog.String("cluster", p.Cluster), slog.String("track", p.Track.String()), slog.Duration("settle", p.Settle), slog.Any("windows", p.Windows),
		slog.Duration("cooldown", p.Cooldown), slog.Duration("bake", p.Bake), slog.Any("allow", p.Allow),
	)
}
