package rollback

import (
	"fmt"
	"slices"
	"time"
)

// maxDecisions bounds the decisions that a record keeps: the first one and the newest.
const maxDecisions = 20

// MaxDangers bounds the dangers that a record keeps.
const MaxDangers = 20

// Record is everything that backout knows about one suspect revision. It is stored as YAML
// in a ConfigMap in the namespace of the release.
type Record struct {
	Key      `json:",inline"`
	Revision int `json:"revision"`
	// UID is that of the object in which Helm stores the revision. A record with another UID is
	// about another installation of the release.
	UID string `json:"uid"`
	// Storage is the kind of that object. Commands depend on it, and nothing else.
	Storage Storage `json:"storage,omitempty"`
	// Content is the digest of the revision's content. It is known bad once the rollback has
	// started, or a hold that no operator lifted has begun.
	Content string    `json:"content,omitempty"`
	Opened  time.Time `json:"opened"`
	// Canary says what backout takes for the revision's canary, and why; "" for a plain
	// release.
	Canary string `json:"canary,omitempty"`
	// TrackLabel is the label by which the canary was looked for, for commands; "" for the default
	// one. It counts only in a record that backout has signed.
	TrackLabel string `json:"trackLabel,omitempty"`

	Signals []Signal `json:"signals"`
	// DroppedSignals is how many episodes came after the record was full.
	DroppedSignals int `json:"droppedSignals,omitempty"`

	// Decisions are the decisions, oldest first; each differs from the one before, and the
	// last one is in force.
	Decisions []Decision `json:"decisions"`
	// Trace lists the checks of the newest decision; nil for an operator's order.
	Trace *Trace `json:"trace,omitempty"`

	// Preflight is the step, PreflightTarget the target that it was about, Dangers what it
	// found, and Owner the tool that manages the live objects.
	Preflight       *Step    `json:"preflight,omitempty"`
	PreflightTarget int      `json:"preflightTarget,omitempty"`
	Dangers         []Danger `json:"dangers,omitempty"`
	Owner           Owner    `json:"owner,omitzero"`
	// Differences say, a sentence each, how the objects differ from what the target declares:
	// after the preflight, how they would, and after the rollback, how they do.
	Differences []string `json:"differences,omitempty"`

	Shed     *Step `json:"shed,omitempty"`
	Rollback *Step `json:"rollback,omitempty"`
	Restore  *Step `json:"restore,omitempty"`
	Verify   *Step `json:"verify,omitempty"`
	// Outcome is the result of Verify; "" before.
	Outcome Outcome `json:"outcome,omitempty"`
	// Hold exists once the weight is to stay zero although nothing is rolled back.
	Hold *Hold `json:"hold,omitempty"`
	// Manual is the rollback that an operator carries out with a command; nil if none does.
	Manual *ManualRollback `json:"manual,omitempty"`

	// Weights are the canary's weights as the shed found and left them.
	Weights []Weight `json:"weights,omitempty"`
	// Target is the revision that backout rolled back to, Made the revision that Helm
	// created for it.
	Target int `json:"target,omitempty"`
	Made   int `json:"made,omitempty"`

	// Closed is when backout stopped working on the record; zero while it is open.
	Closed time.Time `json:"closed,omitzero"`

	// Obstacle is an error outside of the steps that keeps backout from going on, such as a
	// pause or a readiness that cannot be read. Started is when it began; Done when backout
	// could go on. It is not signed: it starts nothing.
	Obstacle *Step `json:"obstacle,omitempty"`

	// Leftover is a weight at zero on a marked route that no open record of the release
	// accounts for: Started is when backout found it, Error names the routes, and Done is when
	// it was gone. It is not signed: it starts nothing.
	Leftover *Step `json:"leftover,omitempty"`
	// StrayRoutes are the marked routes of a leftover whose release is gone, by kind, group and name:
	// "HTTPRoute.gateway.networking.k8s.io/shop".
	StrayRoutes []string `json:"strayRoutes,omitempty"`

	// Panics is how often backout has panicked over the record; see SetAside.
	Panics int `json:"panics,omitempty"`

	// Notified is what each channel has sent to the team. No step depends on it.
	Notified map[string]Notified `json:"notified,omitempty"`

	// Signatures are those of the parts that backout wrote, in any order; see Part.
	Signatures []string `json:"signatures,omitempty"`
	// Ignored names the parts that backout removed because it has not signed them.
	Ignored []string `json:"ignored,omitempty"`

	// Unsigned says that backout has signed neither alerts nor decisions nor steps of the
	// record, as it was read; it is not part of the stored text.
	Unsigned bool `json:"-"`
	// Version identifies the stored text that the ledger read. The ledger compares it when
	// it saves the record; it is not part of the stored text.
	Version string `json:"-"`
}

// Outcome is whether a rollback helped.
type Outcome string

// The outcomes.
const (
	// OutcomeRecovered: the alert is quiet, and the canary gets traffic.
	OutcomeRecovered Outcome = "recovered"
	// OutcomeRestored: the alert is quiet, but without traffic that proves nothing.
	OutcomeRestored Outcome = "restored"
	// OutcomeNotRecovered: the alert still fires, or neither Alertmanager nor Prometheus
	// says that it does not.
	OutcomeNotRecovered Outcome = "not-recovered"
)

// Decision returns the one in force; the zero Decision before the first.
func (r *Record) Decision() Decision {
	if len(r.Decisions) == 0 {
		return Decision{}
	}
	return r.Decisions[len(r.Decisions)-1]
}

// Decide appends d if it differs from the decision in force, and reports whether it did.
// A decision to shed also starts the step: stored together, they make the shed known even
// if the process dies between the shed and the next write of the record.
func (r *Record) Decide(d Decision) bool {
	if d.Shed && !r.Shed.Begun() {
		r.Shed = &Step{Started: d.At}
	}
	if len(r.Decisions) > 0 && r.Decision().Same(d) {
		return false
	}
	if len(r.Decisions) >= maxDecisions {
		// An operator's decision replaces an older one of an operator: the others are signed.
		if i := slices.IndexFunc(r.Decisions, byOperator); i >= 0 {
			r.Decisions = slices.Delete(r.Decisions, i, i+1)
		} else if !byOperator(d) {
			i := r.expendable()
			r.Decisions = slices.Delete(r.Decisions, i, i+1)
		}
	}
	r.Decisions = append(r.Decisions, d)
	return true
}

// expendable returns the index of the decision that gives way to a new one: the oldest but the
// first one and those that say from when until when the release was last in a storm.
func (r *Record) expendable() int {
	began, last := r.lastStorm()
	for i := 1; i < len(r.Decisions); i++ {
		if i != began && i != last && (last < 0 || i != last+1) {
			return i
		}
	}
	return 1
}

// Clone returns a copy whose signals, decisions and shed can be changed without changing
// r. It shares all else with r.
func (r *Record) Clone() Record {
	c := *r
	c.Signals, c.Decisions = slices.Clone(r.Signals), slices.Clone(r.Decisions)
	if r.Shed != nil {
		shed := *r.Shed
		c.Shed = &shed
	}
	return c
}

// Later returns the later of two times.
func Later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// NewRecord returns a new record for the suspect revision. If there is a record of another
// installation with the same revision number, the new one replaces it.
func NewRecord(k Key, suspect Revision, records []Record, now time.Time) Record {
	r := Record{
		Key: k, Revision: suspect.Number, UID: suspect.UID, Storage: suspect.Storage, Content: suspect.Content,
		Canary: suspect.Canary, TrackLabel: suspect.TrackLabel, Opened: now,
	}
	for _, other := range records {
		if other.Revision == suspect.Number {
			r.Version = other.Version
		}
	}
	return r
}

// FindRecord returns the record of the revision, by number and UID, and whether there is one.
func FindRecord(records []Record, revision Revision) (Record, bool) {
	for i := range records {
		if records[i].about(revision) {
			return records[i], true
		}
	}
	return Record{}, false
}

func (r *Record) about(revision Revision) bool {
	return r.Revision == revision.Number && r.UID == revision.UID
}

// Suspect returns the number and the UID of the revision that the record is about.
func (r *Record) Suspect() Revision { return Revision{Number: r.Revision, UID: r.UID} }

// Name returns the name of the ConfigMap that stores the record.
func (r *Record) Name() string { return fmt.Sprintf("backout.v1.%s.v%d", r.Release, r.Revision) }
