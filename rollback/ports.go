package rollback

import (
	"context"
	"errors"
	"time"
)

// Consistency is how fresh a read has to be. Stored is the zero value.
type Consistency int

const (
	// Stored is what the API server stores now.
	Stored Consistency = iota
	// Recent is what the API server has cached, usually some milliseconds old.
	Recent
	// Cached is what this process's watches have delivered, without a request. It may be
	// outdated by any time. A read returns ErrNotCached where the watches do not cover
	// everything.
	Cached
)

// ErrNotCached says that the watches of this process do not cover the read.
var ErrNotCached = errors.New("not cached")

// Precondition is called right before a write, after the object was read. If it returns an
// error, nothing is written. A nil Precondition always holds.
type Precondition func(context.Context) error

// Releases is the engine's access to Helm.
type Releases interface {
	// History returns the release's revisions, Stored or Cached. It returns
	// ErrUnknownRelease if Helm stores no revision (for a Cached one, if the watches cover the
	// release and have delivered none), and ErrTwoStorages if it stores some in more than one
	// storage.
	History(ctx context.Context, k Key, c Consistency) (History, error)
	// EnsureNewest returns nil if that revision, by number and UID, is still the newest one
	// of the release, and ErrRevisionChanged if it is not or is being uninstalled. It is
	// cheaper than History, and serves as the Precondition of a weight change.
	EnsureNewest(ctx context.Context, k Key, revision Revision) error
	// Manifest returns the objects of a revision as Helm rendered them. It returns an
	// *OverloadedError if the API server did not take the request on.
	Manifest(ctx context.Context, k Key, revision int) (Manifest, error)
	// Preflight returns the dangers of the rollback, and the tool that manages the objects
	// that it would write. It changes nothing. It and RollBack return an *OverloadedError if
	// the API server did not take a request on.
	Preflight(ctx context.Context, p Plan) (PreflightResult, error)
	// RollBack rolls back with Helm as planned and returns the number of the revision that
	// Helm created. It does not wait for pods. It returns ErrRevisionChanged, having changed
	// nothing, if the release is no longer at the planned revision.
	RollBack(ctx context.Context, p Plan) (int, error)
	// Differences says, a sentence each, how the live objects differ after the rollback from
	// what its target declares, but for weights that the plan holds and numbers of replicas.
	// It changes nothing.
	Differences(ctx context.Context, p Plan) ([]string, error)
	// Recover marks as failed the pending revision that an interrupted rollback of backout
	// left behind, so that Helm accepts another operation. It returns ErrRevisionChanged if
	// the stored revision is no longer that one.
	Recover(ctx context.Context, k Key, pending Revision) error
	// Ready reports whether every workload of the revision is rolled out; if not, the text
	// says what is missing.
	Ready(ctx context.Context, k Key, revision int) (bool, string, error)
	// ReadyStable is Ready without the canary's workloads: for a canary that stays at zero.
	ReadyStable(ctx context.Context, k Key, revision int) (bool, string, error)
}

// ErrRevisionChanged says that the release is no longer at the planned revision.
var ErrRevisionChanged = errors.New("the release is at another revision now")

// Traffic is the engine's access to the routers.
type Traffic interface {
	// Observe reads the live routing objects that lead to the canary, Stored or
	// Recent, and the endpoints of the other backends. It changes nothing. A Recent
	// observation is for a Shed that follows at once.
	Observe(ctx context.Context, k Key, m Manifest, c Consistency) (Routing, error)
	// Shed sets the canary's weight to zero on every live routing object that leads to
	// it, and returns the weights before and after. It begins with what seen has read,
	// and reads again only objects that changed since; with a nil seen it finds the
	// objects by the manifest. It is idempotent: an object whose weight is zero is marked
	// as held at zero, and not written again. A manifest without a canary route yields no weights and no error.
	Shed(ctx context.Context, k Key, m Manifest, seen Observation, p Precondition) ([]Weight, error)
	// Hold returns a function that sets the canary's weight to zero in one decoded
	// object of the manifest; it leaves other objects alone. It reads the live objects
	// for the annotations of operators.
	Hold(ctx context.Context, k Key, m Manifest) (func(object Object), error)
	// HoldTarget is Hold for a canary that stays at zero after Helm has written the manifest:
	// where its weight is a number of replicas, that is zero as well. Any error means that
	// the weight might not stay zero; it is ErrNoRoute if no known route leads to the canary.
	HoldTarget(ctx context.Context, k Key, m Manifest) (func(object Object), error)
	// Restore sets the live weights to those that the manifest declares and returns
	// them. It and Shed return an *OverloadedError if the API server did not take a request on,
	// maybe after a part of the writes.
	Restore(ctx context.Context, k Key, m Manifest, p Precondition) ([]Weight, error)
	// RestoreHeld is Restore for those live objects alone that carry the mark of a shed: only
	// a client that may write the route can have set it.
	RestoreHeld(ctx context.Context, k Key, m Manifest, p Precondition) ([]Weight, error)
	// Watch calls changed soon after each change of a routing object of that kind in the
	// namespace until ctx ends. It returns at once. covers reports whether it sees every
	// change now; it is nil for a kind that no router has.
	Watch(ctx context.Context, namespace, kind string, changed func()) (covers func() bool)
	// Unmark removes that mark from the live objects on which another client has given the
	// canary a weight. It writes no weight.
	Unmark(ctx context.Context, k Key, m Manifest) error
	// Held reports whether any live object that leads to the canary carries that mark.
	Held(ctx context.Context, k Key, m Manifest) (bool, error)
}

// ErrNoRoute says that no route of a known kind leads to the canary.
var ErrNoRoute = errors.New("no route of a known kind leads to the canary")

// Evaluator is the engine's access to servers that evaluate alert rules, those of Grafana
// itself for example. The engine works without it.
type Evaluator interface {
	// Firing says whether the signal's alert fired at that time, according to the
	// servers that answer before ctx ends.
	Firing(ctx context.Context, k Key, s Signal, at time.Time) Confirmation
	// EvidenceFrom returns since when the alert's rule looked back when it was last evaluated,
	// if the signal's alert fires now because its condition is true. It returns the zero time
	// if it does not fire, fires only because of keep_firing_for, or if no server that answers
	// before ctx ends knows how far the rule looks back.
	EvidenceFrom(ctx context.Context, k Key, s Signal) time.Time
}

// Prometheus is the engine's access to the servers that evaluate the alert rules, and have the
// canary's metrics. The engine works without it.
type Prometheus interface {
	Evaluator

	// CanaryTraffic returns the canary's requests per second at that time.
	CanaryTraffic(ctx context.Context, k Key, at time.Time) (float64, error)
}

// Notifier informs the team. The engine works without it.
type Notifier interface {
	// Notify takes a record as it was stored, by whichever replica; the record does not
	// change afterwards. Notify neither blocks nor fails, and no step waits for it.
	Notify(r Record)
}

// Ledger stores records and pauses.
type Ledger interface {
	// Records returns all records of a release, of every installation, oldest revision
	// first. A Save that builds on Recent records is refused if they are outdated.
	Records(ctx context.Context, k Key, c Consistency) ([]Record, error)
	// RecordsSince returns all records of a release as they are stored now, or were at
	// some time after saved, which Save has returned. It is cheaper than a Stored read.
	RecordsSince(ctx context.Context, saved Record) ([]Record, error)
	// Record returns the stored record of one revision, and whether there is one.
	Record(ctx context.Context, k Key, revision int) (Record, bool, error)
	// Open returns the releases that have an open record.
	Open(ctx context.Context) ([]Key, error)
	// Save writes the record and returns it with its new Version. A record without
	// Version is created. It returns ErrConflict, having written nothing, if the stored
	// record is not the one that was read.
	Save(ctx context.Context, r Record) (Record, error)
	// Delete removes a record. It returns ErrConflict if the stored record is not the
	// one that was read.
	Delete(ctx context.Context, r Record) error
	// Paused says in one line who paused backout for the release, its namespace or
	// everything, since when and why; "" if it is not paused.
	Paused(ctx context.Context, k Key) (string, error)
}

// ErrConflict says that another client changed the record since it was read.
var ErrConflict = errors.New("another client changed the record")
