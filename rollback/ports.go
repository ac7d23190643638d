package rollback

import (
	"context"
	"errors"
	"time"
)

// Releases is what the engine needs of Helm.
type Releases interface {
	// History returns the release's revisions. It returns ErrUnknownRelease if
	// there are none.
	History(ctx context.Context, k Key) (History, error)
	// Manifest returns the objects of a revision as Helm rendered them.
	Manifest(ctx context.Context, k Key, revision int) (Manifest, error)
	// RollBack makes Helm go back as planned and returns the number of the
	// revision it made. It does not wait for pods. It returns ErrMoved, having
	// changed nothing, if the release is no longer at the planned revision.
	RollBack(ctx context.Context, p Plan) (int, error)
	// Ready reports whether every workload of the revision has been rolled out;
	// if not, the text says what is waited for.
	Ready(ctx context.Context, k Key, revision int) (bool, string, error)
}

// ErrMoved says that the release is no longer at the revision that was accused.
var ErrMoved = errors.New("the release is at another revision by now")

// Plan is one rollback, decided down to the revision.
type Plan struct {
	Key     Key
	Accused Revision
	// Target is the number of the revision to go back to, never 0.
	Target int
	// HookTimeout limits each Helm hook.
	HookTimeout time.Duration
	// Hold is called on every object that Helm is about to write, as decoded
	// JSON, and keeps a canary's weight at zero in it.
	Hold func(object Object)
}

// Object is a Kubernetes object as decoded from JSON or YAML.
type Object = map[string]any

// Manifest is what a revision of a release declares.
type Manifest []Object

// Traffic is what the engine needs of the routers.
type Traffic interface {
	// Shed sets the canary's weight to zero on every live routing object that
	// the manifest declares, and returns the weights as they were and are. It
	// is idempotent: what is zero is not written. A manifest without a canary
	// route yields no weights and no error.
	Shed(ctx context.Context, k Key, m Manifest) ([]Weight, error)
	// Hold returns a function that sets the canary's weight to zero in one
	// decoded object of the manifest; other objects it leaves alone.
	Hold(m Manifest) func(object Object)
	// Raise sets the live weights to what the manifest declares and returns
	// them.
	Raise(ctx context.Context, k Key, m Manifest) ([]Weight, error)
}

// Ledger stores records.
type Ledger interface {
	// Records returns all records of a release, of every life, oldest revision
	// first.
	Records(ctx context.Context, k Key) ([]Record, error)
	// Open returns the releases that have a record which is not closed.
	Open(ctx context.Context) ([]Key, error)
	// Save writes the record and returns it with its new Version. A record
	// without Version is created. It returns ErrConflict, having written
	// nothing, if the stored one is not the one that was read.
	Save(ctx context.Context, r Record) (Record, error)
}

// ErrConflict says that a record was changed by somebody else since it was read.
var ErrConflict = errors.New("the record was changed meanwhile")
