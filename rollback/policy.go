package rollback

import (
	"errors"
	"fmt"
	"log/slog"
	"path"
	"slices"
	"strings"
	"time"
)

// Mode is what backout may do at all.
type Mode string

// ModeAct does what the decisions say. ModeObserve decides and records, and
// touches nothing.
const (
	ModeAct     Mode = "act"
	ModeObserve Mode = "observe"
)

// Policy bounds what backout may do. Its tags are read by go-envconfig under the
// prefix BACKOUT_.
type Policy struct {
	Releases        []string      `env:"RELEASES" desc:"Releases that may be touched, as namespace/name, separated by commas. The name may be a glob (canary-demo/*), the namespace is literal. Empty allows none."`
	Mode            Mode          `env:"MODE, default=act" desc:"act, or observe: decide and record, touch nothing."`
	Cluster         string        `env:"CLUSTER" desc:"Name of this cluster. Alerts must carry it as their cluster label; without it, alerts that carry one are refused."`
	Settle          time.Duration `env:"SETTLE, default=7m" desc:"How long a revision that is younger than its alert's start goes unaccused: longest rule window + keep_firing_for + one evaluation."`
	Cooldown        time.Duration `env:"COOLDOWN, default=10m" desc:"No second rollback of a release within this time; the canary is taken out of the traffic and held."`
	Bake            time.Duration `env:"BAKE, default=24h" desc:"A revision older than this is not rolled back; the canary is taken out of the traffic and held."`
	OperationLimit  time.Duration `env:"OPERATION_LIMIT, default=1h" desc:"A Helm operation in flight for longer than this is reported as stuck."`
	RollbackTimeout time.Duration `env:"ROLLBACK_TIMEOUT, default=5m" desc:"Limit of each Helm hook of a rollback."`
}

// Validate returns every mistake in the policy, each by the name of its
// variable.
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
		{"COOLDOWN", p.Cooldown},
		{"BAKE", p.Bake},
		{"OPERATION_LIMIT", p.OperationLimit},
		{"ROLLBACK_TIMEOUT", p.RollbackTimeout},
	} {
		if d.value <= 0 {
			errs = append(errs, fmt.Errorf("BACKOUT_%s=%s: want a duration above zero, such as 5m", d.name, d.value))
		}
	}
	if p.Bake > 0 && p.Settle >= p.Bake {
		errs = append(errs, fmt.Errorf("BACKOUT_SETTLE=%s is not shorter than BACKOUT_BAKE=%s: no revision would ever be rolled back", p.Settle, p.Bake))
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

// SameCluster reports whether an alert with that cluster label ("" if it has
// none) comes from the cluster that backout works on.
func (p Policy) SameCluster(label string) bool { return label == p.Cluster }

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

// LogValue shows the policy in one group; it holds no secret.
func (p Policy) LogValue() slog.Value {
	return slog.GroupValue(
		slog.Any("releases", p.Releases), slog.String("mode", string(p.Mode)),
		slog.String("cluster", p.Cluster), slog.Duration("settle", p.Settle),
		slog.Duration("cooldown", p.Cooldown), slog.Duration("bake", p.Bake),
	)
}
