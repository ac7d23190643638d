package rollback

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ErrUnknownRelease says that Helm stores no revision of a release, or that its namespace
// is being deleted.
var ErrUnknownRelease = errors.New("no such Helm release")

// Status is Helm's status of a revision.
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

// Pending reports whether a Helm operation is in progress, or died before its end.
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
	// UID is that of the object in which Helm stores it. Revision numbers start at 1 again when a
	// release is uninstalled and installed again; UIDs are never used twice.
	UID string
	// Storage is the kind of that object.
	Storage Storage
	Status  Status
	// Unreadable says why backout cannot read that object, and names it; "" if it can. Then
	// only what the object's metadata says is known: the fields above, Deployed and Claim.
	Unreadable  string
	Description string
	Chart       string
	// Deployed is when the API server stored this revision: not by the clock of the machine that
	// ran Helm.
	Deployed time.Time
	// Content is the digest of what the canary's requests meet, and for a plain release, one
	// without a canary, of what all requests meet; "" if the manifest has no workload.
	Content string
	// Canary says what is taken for the canary and why; "" for a plain release.
	Canary string
	// TrackLabel is the label by which the canary was looked for, as Track.Option returns it.
	TrackLabel string
	// Versions are the names that metrics may have for the version of the canary's pods:
	// version labels and image tags. For a plain release they are those of all workloads,
	// and so are Images and Pods.
	Versions []string
	// Images are those of the canary's pods, in order.
	Images []string
	// Pods are the digests of the canary's pods as they run, whatever their track calls
	// them.
	Pods []string
	// Hooks are its pre-upgrade and post-upgrade hooks: Helm ran them if an upgrade made the
	// revision, and no rollback undoes them.
	Hooks []Hook
	// Owner is the tool that manages the release, according to the manifest.
	Owner Owner
	// Claim is the UID of the suspect revision that backout rolled back by writing this
	// one; "" if another client wrote it.
	Claim string
}

// HasVersion reports whether version is one of the revision's canary versions.
func (r Revision) HasVersion(version string) bool {
	return version != "" && slices.Contains(r.Versions, version)
}

// History is a release's revisions, newest first, at least one.
type History []Revision

// Newest returns the newest revision, pending ones included.
func (h History) Newest() Revision { return h[0] }

// Older returns the revisions below the newest one, newest first.
func (h History) Older() []Revision { return h[1:] }

// Named returns the revision with that number, and whether there is one.
func (h History) Named(number int) (Revision, bool) {
	i := slices.IndexFunc(h, func(r Revision) bool { return r.Number == number })
	if i < 0 {
		return Revision{}, false
	}
	return h[i], true
}

// From returns the history from the suspect revision, by its UID, on, and the newer revisions,
// newest first. It leaves out those that an interrupted rollback of the suspect has left behind
// pending or failed, and those that another client has, if Helm calls the suspect deployed: the
// suspect still runs. It leaves out none if there is any other newer revision.
func (h History) From(suspect string) (from, newer History) {
	i := slices.IndexFunc(h, func(r Revision) bool { return r.UID == suspect })
	if suspect == "" || i < 0 {
		return h, nil
	}
	for _, r := range h[:i] {
		if !r.unfinished() || r.Claim != suspect && h[i].Status != StatusDeployed {
			return h, nil
		}
	}
	return h[i:], h[:i]
}

// unfinished reports whether a Helm operation has written the revision and not ended well: the
// pods of the one before may still run.
func (r Revision) unfinished() bool {
	return r.Status == StatusFailed || r.Status == StatusPendingUpgrade || r.Status == StatusPendingRollback
}

// changedNothing reports whether Helm gave the revision up before it wrote an object of its
// manifest. Helm itself writes the description of a failed revision.
func (r Revision) changedNothing(release string) bool {
	return r.Status == StatusFailed && strings.HasPrefix(r.Description, fmt.Sprintf("Upgrade %q failed: pre-upgrade hooks failed", release))
}

// HelmDescription returns the description that Helm gives a revision made by rolling
// back to the target.
func HelmDescription(target int) string { return fmt.Sprintf("Rollback to %d", target) }

// rolledBackTo returns the revision that the newest one goes back to, and whether a Helm
// rollback made the newest: it has Helm's description of one, which `helm upgrade --description`
// can also write, and the content of the revision that this names, unless that is no longer in
// the history.
func (h History) rolledBackTo() (int, bool) {
	number, found := strings.CutPrefix(h.Newest().Description, "Rollback to ")
	target, err := strconv.Atoi(number)
	if !found || err != nil || h.Newest().Description != HelmDescription(target) {
		return 0, false
	}
	named, known := h.Named(target)
	return target, !known || named.Content == h.Newest().Content
}

// madeByRollback reports whether a Helm rollback made the newest revision.
func (h History) madeByRollback() bool {
	_, made := h.rolledBackTo()
	return made
}
