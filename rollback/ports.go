package rollback

import (
	"context"
	"errors"
	"slices"
	"time"
)

// Releases is what the engine needs of Helm.
type Releases interface {
	// History returns the release's revisions. It returns ErrUnknownRelease if
	// there are none.
	History(ctx context.Context, k Key) (History, error)
	// HistoryAtHand returns what is known of that without asking anybody, and whether it is
	// known. It may be outdated by any time.
	HistoryAtHand(k Key) (History, bool)
	// Newest returns nil if that revision, by number and UID, is still the
	// release's newest, and ErrMoved if it is not, or is being uninstalled. It is cheaper than History, and
	// asked right before a weight is written.
	Newest(ctx context.Context, k Key, revision Revision) error
	// Manifest returns the objects of a revision as Helm rendered them.
	Manifest(ctx context.Context, k Key, revision int) (Manifest, error)
	// Check looks ahead and returns what would be dangerous about the rollback,
	// and who else manages what it would write. It changes nothing.
	Check(ctx context.Context, p Plan) (Outlook, error)
	// RollBack makes Helm go back as planned and returns the number of the
	// revision it made. It does not wait for pods. It returns ErrMoved, having
	// changed nothing, if the release is no longer at the planned revision.
	RollBack(ctx context.Context, p Plan) (int, error)
	// Recover marks as failed the pending revision that a rollback of ours left
	// behind, so that Helm goes on from there. It returns ErrMoved if the stored
	// revision is not that one any more.
	Recover(ctx context.Context, k Key, pending Revision) error
	// Ready reports whether every workload of the revision has been rolled out;
	// if not, the text says what is waited for.
	Ready(ctx context.Context, k Key, revision int) (bool, string, error)
}

// ErrMoved says that the release is no longer at the revision that was planned
// for.
var ErrMoved = errors.New("the release is at another revision by now")

// Plan is one rollback, decided down to the revision.
type Plan struct {
	Key Key
	// Accused is the revision to go back from: what is live is it, or something
	// between it and the target.
	Accused Revision
	// Newest is the release's newest revision, after which Helm makes its own:
	// the accused one, or what an interrupted attempt left behind.
	Newest Revision
	// Target is the number of the revision to go back to, never 0.
	Target int
	// HookTimeout limits each Helm hook.
	HookTimeout time.Duration
	// Hold is called on every object that Helm is about to write, as decoded
	// JSON, and keeps a canary's weight at zero in it. Nil holds nothing.
	Hold func(object Object)
}

// Outlook is what Check found.
type Outlook struct {
	Dangers []Danger
	// Owner is the tool that manages the live objects; the zero Owner if none
	// does.
	Owner Owner
}

// Danger is one reason not to roll back by machine.
type Danger struct {
	Kind DangerKind `json:"kind"`
	// What is one sentence that names the object.
	What string `json:"what"`
}

// DangerKind is a closed set of words; BACKOUT_ALLOW takes those that
// AllowableDangers returns.
type DangerKind string

// The dangers of a rollback.
const (
	// DangerUnbuildable: Helm could not build or write an object of the target.
	DangerUnbuildable DangerKind = "unbuildable"
	// DangerImmutable: the API server refuses a change.
	DangerImmutable DangerKind = "immutable"
	// DangerNamespace and DangerPVC: the rollback would delete one.
	DangerNamespace DangerKind = "namespace"
	DangerPVC       DangerKind = "pvc"
	// DangerSecret: a Secret would get an old value.
	DangerSecret DangerKind = "secret"
	// DangerHook: an upgrade hook ran since the target and is not undone.
	DangerHook DangerKind = "hook"
	// DangerStable: the stable track's pods would be replaced.
	DangerStable DangerKind = "stable"
	// DangerReplicas: an HPA's lower maxReplicas would shrink a workload.
	DangerReplicas DangerKind = "replicas"
)

// AllowableDangers returns the kinds that an operator may allow.
func AllowableDangers() []DangerKind {
	return []DangerKind{DangerNamespace, DangerPVC, DangerSecret, DangerHook, DangerStable, DangerReplicas}
}

// Owner is another tool that manages a release's objects.
type Owner struct {
	// Tool is its name, such as "Flux"; "" if there is none.
	Tool string `json:"tool,omitempty"`
	// Object is what it manages them by, such as "HelmRelease flux-system/shop".
	Object string `json:"object,omitempty"`
	// Do is the command that a person would run instead.
	Do string `json:"do,omitempty"`
	// Weights says that the tool sets the canary's weight itself, so that not even
	// the weight is touched.
	Weights bool `json:"weights,omitempty"`
}

// Object is a Kubernetes object as decoded from JSON or YAML.
type Object = map[string]any

// Manifest is what a revision of a release declares.
type Manifest []Object

// Traffic is what the engine needs of the routers.
type Traffic interface {
	// Look reads the live routing objects that the manifest declares, and the
	// endpoints of the other backends. It changes nothing.
	Look(ctx context.Context, k Key, m Manifest) (Routing, error)
	// Glance does what Look does, for a ShedSeen that follows at once: a route that
	// gives the canary traffic may have been read some milliseconds ago.
	Glance(ctx context.Context, k Key, m Manifest) (Routing, error)
	// Shed sets the canary's weight to zero on every live routing object that
	// the manifest declares, and returns the weights as they were and are. It
	// is idempotent: what is zero is not written. A manifest without a canary
	// route yields no weights and no error. After an object was read and before it
	// is written it asks still, and writes nothing if that returns an error.
	Shed(ctx context.Context, k Key, m Manifest, still func(context.Context) error) ([]Weight, error)
	// ShedSeen does what Shed does, on what Look or Glance has read a moment ago: only
	// what was changed since is read again.
	ShedSeen(ctx context.Context, k Key, seen Routing, still func(context.Context) error) ([]Weight, error)
	// Hold returns a function that sets the canary's weight to zero in one
	// decoded object of the manifest; other objects it leaves alone. It reads
	// the live objects, for what people have written on them.
	Hold(ctx context.Context, k Key, m Manifest) (func(object Object), error)
	// Raise sets the live weights to what the manifest declares and returns
	// them. It asks still as Shed does.
	Raise(ctx context.Context, k Key, m Manifest, still func(context.Context) error) ([]Weight, error)
}

// Routing is the canary's traffic as it stands.
type Routing struct {
	// Weights are the live ones of the canary; From and To are equal.
	Weights []Weight
	// NoStable says why nothing else could take the canary's traffic, such as
	// "Service shop has no ready endpoint"; "" if something could.
	NoStable string
	// Load is how many times the load of a stable pod would be what it is now
	// without the canary; 1 if nothing changes.
	Load float64
	// Owner is the tool that the live routing objects belong to, if any.
	Owner Owner
	// Seen is what ShedSeen begins with; nil if not all could be read.
	Seen any
}

// Open reports whether the canary gets traffic on any route.
func (r Routing) Open() bool {
	return slices.ContainsFunc(r.Weights, func(w Weight) bool { return w.To != "0" })
}

// Prometheus is what the engine asks about alerts. Having none is legal.
type Prometheus interface {
	// Firing tells whether the accusation's alert fired at that time, by the
	// Prometheus servers that can be asked before ctx ends.
	Firing(ctx context.Context, k Key, a Accusation, at time.Time) Confirmation
	// CanaryTraffic returns the canary's requests per second at that time.
	CanaryTraffic(ctx context.Context, k Key, at time.Time) (float64, error)
}

// Confirmation is what Prometheus says about an alert.
type Confirmation struct {
	Answer Answer `json:"answer"`
	// ActiveSince is since when the alert's condition was true, before any `for`;
	// zero if Prometheus does not tell.
	ActiveSince time.Time `json:"activeSince,omitzero"`
	// Error says why there is no answer.
	Error string `json:"error,omitempty"`
}

// Answer is whether Prometheus says that an alert fired.
type Answer string

// The answers. Quiet needs every server to have answered, with the rule loaded
// and evaluated since; Firing needs one.
const (
	AnswerFiring  Answer = "firing"
	AnswerQuiet   Answer = "quiet"
	AnswerUnknown Answer = "unknown"
)

// Reporter tells people. Having none is legal.
type Reporter interface {
	// Report takes a record as it was stored, by whichever replica; the record is
	// not changed afterwards. It neither blocks nor fails: whatever it does about the
	// record, it does later, and no step waits for it.
	Report(r Record)
}

// Ledger stores records, and what people told backout to leave alone.
type Ledger interface {
	// Records returns all records of a release, of every life, oldest revision
	// first, as they are stored now.
	Records(ctx context.Context, k Key) ([]Record, error)
	// Recent returns the same faster, and possibly some milliseconds old: for what
	// ends in a Save, which refuses what is built on an older state.
	Recent(ctx context.Context, k Key) ([]Record, error)
	// RecordsAtHand returns what is known of them without asking anybody, and whether all of
	// them are known. It may be outdated by any time.
	RecordsAtHand(k Key) ([]Record, bool)
	// Since returns all records of a release as they are stored now, or were at some
	// time after r, which Save has returned, was stored. It is cheaper than Records.
	Since(ctx context.Context, r Record) ([]Record, error)
	// Record returns the record of one revision as it is stored now, and whether
	// there is one.
	Record(ctx context.Context, k Key, revision int) (Record, bool, error)
	// Open returns the releases that have a record which is not closed.
	Open(ctx context.Context) ([]Key, error)
	// Save writes the record and returns it with its new Version. A record
	// without Version is created. It returns ErrConflict, having written
	// nothing, if the stored one is not the one that was read.
	Save(ctx context.Context, r Record) (Record, error)
	// Delete removes a record. It returns ErrConflict if the stored one is not
	// the one that was read.
	Delete(ctx context.Context, r Record) error
	// Paused returns who switched backout off for the release, its namespace or
	// everything, since when and why, in one line; "" if nobody did.
	Paused(ctx context.Context, k Key) (string, error)
}

// ErrConflict says that a record was changed by somebody else since it was read.
var ErrConflict = errors.New("the record was changed meanwhile")
