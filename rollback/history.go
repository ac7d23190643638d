package rollback

import (
	"errors"
	"slices"
	"time"
)

// ErrUnknownRelease says that Helm stores no revision of a release, or that its
// namespace is going away.
var ErrUnknownRelease = errors.New("no such Helm release")

// Status is Helm's word for the state of a revision.
type Status string

// The statuses that decisions depend on; Helm has more.
const (
	StatusDeployed        Status = "deployed"
	StatusSuperseded      Status = "superseded"
	StatusFailed          Status = "failed"
	StatusPendingInstall  Status = "pending-install"
	StatusPendingUpgrade  Status = "pending-upgrade"
	StatusPendingRollback Status = "pending-rollback"
	StatusUninstalling    Status = "uninstalling"
	StatusUninstalled     Status = "uninstalled"
)

// Pending reports whether a Helm operation is in flight, or died in flight.
func (s Status) Pending() bool {
	switch s {
	case StatusPendingInstall, StatusPendingUpgrade, StatusPendingRollback, StatusUninstalling:
		return true
	case StatusDeployed, StatusSuperseded, StatusFailed, StatusUninstalled:
		return false
	default:
		return false
	}
}

// Revision is what Helm stores about one revision of a release, reduced to what
// decisions need.
type Revision struct {
	Number int
	// UID is that of Helm's Secret: revision numbers start again at 1 when a
	// release is uninstalled and installed again, UIDs do not.
	UID         string
	Status      Status
	Description string
	Chart       string
	// Deployed is when this revision was written, by Helm's clock.
	Deployed time.Time
	// Content is the digest of the pod templates and of the ConfigMaps and
	// Secrets they use; "" if the manifest has no workload.
	Content string
	// Versions are the names by which the canary's pods may be known to
	// metrics: version labels and image tags. Without a canary track they are
	// those of all workloads.
	Versions []string
	// Hooks are the names of its pre-upgrade and post-upgrade hooks: Helm ran them
	// when the revision was made by an upgrade, and no rollback undoes them.
	Hooks []string
	// Owner is the tool that manages the release, as its manifest tells.
	Owner Owner
	// Claim is the UID of the accused revision for which backout had Helm write
	// this one; "" if somebody else wrote it.
	Claim string
}

// Is reports whether version is one of the revision's canary versions.
func (r Revision) Is(version string) bool {
	return version != "" && slices.Contains(r.Versions, version)
}

// History is a release's revisions, newest first, at least one.
type History []Revision

// Accused returns the newest revision, pending ones included.
func (h History) Accused() Revision { return h[0] }

// Older returns the revisions below the accused one, newest first.
func (h History) Older() []Revision { return h[1:] }

// Named returns the revision of that number.
func (h History) Named(number int) (Revision, bool) {
	i := slices.IndexFunc(h, func(r Revision) bool { return r.Number == number })
	if i < 0 {
		return Revision{}, false
	}
	return h[i], true
}
