package rollback

import (
	"time"
)

// Plan is one rollback with its revisions.
type Plan struct {
	Key Key
	// Suspect is the revision to roll back. The live objects are its objects, or, after an
	// interrupted attempt, partly those of the target.
	Suspect Revision
	// Newest is the newest revision of the release, after which Helm creates its own: the
	// suspect, the revision that an interrupted attempt left behind, or the first of Failed.
	Newest Revision
	// Failed are the upgrades of other clients that failed above the suspect, newest first:
	// objects that they declare may be live.
	Failed []Revision
	// Target is the number of the revision to go back to, never 0.
	Target int
	// HookTimeout is the timeout of each Helm hook.
	HookTimeout time.Duration
	// Hold is called with every object that Helm is about to write, as decoded JSON, and
	// sets the canary's weight in it to zero. Nil changes nothing.
	Hold func(object Object)
	// Unheld says which live routes could not be read for Hold, which then knows no more than
	// the manifest; "" if all could.
	Unheld string
}

// PreflightResult is what Releases.Preflight found.
type PreflightResult struct {
	Dangers []Danger
	// Owner is the tool that manages the live objects; the zero Owner if no tool does.
	Owner Owner
	// Note says what the preflight went on without; "" if it could read everything.
	Note string
	// Differences say, a sentence each, what would stay otherwise than the target declares.
	Differences []string
}
