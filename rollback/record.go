package rollback

import (
	"fmt"
	"slices"
	"time"
)

// maxDecisions bounds the decisions kept: the first one and the newest.
const maxDecisions = 20

// maxDangers bounds what a look ahead stores.
const maxDangers = 20

// Record is what backout knows about one accused revision. It is stored as YAML
// in a ConfigMap of the release's namespace.
type Record struct {
	Key      `json:",inline"`
	Revision int `json:"revision"`
	// UID is that of Helm's Secret for the revision. A record with another UID
	// is about another life of the release.
	UID string `json:"uid"`
	// Content is the digest of what the revision runs. Once the rollback has
	// started it is condemned.
	Content string    `json:"content,omitempty"`
	Opened  time.Time `json:"opened"`

	Accusations []Accusation `json:"accusations"`
	// Uncounted is how many episodes came after the record was full.
	Uncounted int `json:"uncounted,omitempty"`

	// Decisions are every change of mind, oldest first; the last one is in
	// force.
	Decisions []Decision `json:"decisions"`
	// Grounds are what the newest decision of Decide's was taken on; nil for an
	// order of a person's.
	Grounds *Grounds `json:"grounds,omitempty"`

	// Check is the look ahead at the rollback, Checked the target that was looked
	// at, Dangers what was found, and Owner the tool that manages the live objects.
	Check   *Step    `json:"check,omitempty"`
	Checked int      `json:"checked,omitempty"`
	Dangers []Danger `json:"dangers,omitempty"`
	Owner   Owner    `json:"owner,omitzero"`

	Shed     *Step `json:"shed,omitempty"`
	Rollback *Step `json:"rollback,omitempty"`
	Raise    *Step `json:"raise,omitempty"`
	Verify   *Step `json:"verify,omitempty"`
	// Outcome is what Verify found; "" before.
	Outcome Outcome `json:"outcome,omitempty"`
	// Hold is there once zero is to stay although nothing is rolled back.
	Hold *Hold `json:"hold,omitempty"`

	// Weights are the canary's weights as the shed found and left them.
	Weights []Weight `json:"weights,omitempty"`
	// Target is the revision gone back to, Made the revision that Helm wrote
	// for it.
	Target int `json:"target,omitempty"`
	Made   int `json:"made,omitempty"`

	// Closed is when nothing was left to do; zero while there is.
	Closed time.Time `json:"closed,omitzero"`

	// Told is what people were told, by channel. No step reads it.
	Told map[string]Told `json:"told,omitempty"`

	// Version is the ledger's own mark of what was read: it is compared when the
	// record is saved, and is not part of the stored text.
	Version string `json:"-"`
}

// Outcome is whether a rollback helped.
type Outcome string

// The outcomes.
const (
	// Recovered: the alert is quiet, and the canary gets traffic.
	Recovered Outcome = "recovered"
	// Restored: the alert is quiet, but without traffic that proves nothing.
	Restored Outcome = "restored"
	// NotRecovered: the alert fires on, or nobody says that it does not.
	NotRecovered Outcome = "not-recovered"
)

// Hold is the time in which the canary's weight is kept at zero although the
// release is not rolled back.
type Hold struct {
	Since time.Time `json:"since"`
	// Ended is when it was over; zero while it lasts.
	Ended time.Time `json:"ended,omitzero"`
	// Why says what ended it: other content, `backout release`, or whoever raised
	// the weight.
	Why string `json:"why,omitempty"`
	// Lifted says that a person ended it: the content is the person's to judge.
	Lifted bool `json:"lifted,omitempty"`
}

// Lasts reports whether the weight is held now; a nil hold never began.
func (h *Hold) Lasts() bool { return h != nil && h.Ended.IsZero() }

// Decision is the result of Decide, with its time.
type Decision struct {
	Verdict Verdict `json:"verdict"`
	// Reason is one sentence for people.
	Reason string `json:"reason"`
	// Shed and Rollback are what is to be done.
	Shed     bool `json:"shed,omitempty"`
	Rollback bool `json:"rollback,omitempty"`
	// Hold says that zero stays after the shed, until other content arrives or a
	// person lifts it.
	Hold bool `json:"hold,omitempty"`
	// People says that a person has to look.
	People bool `json:"people,omitempty"`
	// Do is the command that a person would run now; "" if there is nothing to do.
	Do string `json:"do,omitempty"`
	// Target is the revision to go back to, 0 if there is no rollback.
	Target int `json:"target,omitempty"`
	// Waits says that the decision is taken again without a new alert, at Again at
	// the latest; without Again, as soon as the cluster has changed.
	Waits bool      `json:"waits,omitempty"`
	Again time.Time `json:"again,omitzero"`
	At    time.Time `json:"at"`
}

// Same reports whether d and o say the same, whenever they were taken.
func (d Decision) Same(o Decision) bool {
	// A time that was stored and read again differs in its zone's address.
	again := d.Again.Equal(o.Again)
	d.At, o.At, d.Again, o.Again = time.Time{}, time.Time{}, time.Time{}, time.Time{}
	return again && d == o
}

// Weight is the canary's share on one routing object, as the router writes it.
type Weight struct {
	Kind string `json:"kind"`
	Name string `json:"name"`
	From string `json:"from"`
	To   string `json:"to"`
	// Applier is the field manager that applies the object server-side, as Helm 4
	// does; "" if none does. Its next apply is refused as a conflict for as long as
	// the weight is held.
	Applier string `json:"applier,omitempty"`
}

// String returns, for example, "Ingress/shop-canary 20 -> 0".
func (w Weight) String() string {
	return fmt.Sprintf("%s/%s %s -> %s", w.Kind, w.Name, w.From, w.To)
}

// Decision returns the one in force; the zero Decision if none was taken.
func (r *Record) Decision() Decision {
	if len(r.Decisions) == 0 {
		return Decision{}
	}
	return r.Decisions[len(r.Decisions)-1]
}

// Decide appends d if it says something new, and reports whether it did. A shed is
// claimed with the decision: a process may die between doing and noting it.
func (r *Record) Decide(d Decision) bool {
	if d.Shed && r.Shed == nil {
		r.Shed = &Step{Started: d.At}
	}
	if len(r.Decisions) > 0 && r.Decision().Same(d) {
		return false
	}
	if len(r.Decisions) == maxDecisions {
		r.Decisions = slices.Delete(r.Decisions, 1, 2)
	}
	r.Decisions = append(r.Decisions, d)
	return true
}

// Claimed reports whether a step that changes the cluster was started.
func (r *Record) Claimed() bool { return r.Shed != nil || r.Rollback != nil }

// claimedAt returns when the first such step was started.
func (r *Record) claimedAt() time.Time {
	var first time.Time
	for _, s := range []*Step{r.Shed, r.Rollback} {
		if s != nil && (first.IsZero() || s.Started.Before(first)) {
			first = s.Started
		}
	}
	return first
}

// Condemned returns the digests that the given records condemn: content that was
// backed out of by a rollback, or held until something else came.
func Condemned(records []Record) map[string]bool {
	condemned := make(map[string]bool)
	for _, r := range records {
		held := r.Hold != nil && !r.Hold.Lifted
		if r.Content != "" && (r.Rollback != nil || held) {
			condemned[r.Content] = true
		}
	}
	return condemned
}

// leftAtZero reports whether a shed was done that nothing in the record will end. A
// hold that was over before it does not count.
func (r *Record) leftAtZero() bool {
	if !r.Shed.Succeeded() || len(r.Weights) == 0 || r.Rollback != nil {
		return false
	}
	return r.Hold == nil || !r.Hold.Lasts() && r.Shed.Started.After(r.Hold.Ended)
}

// clone returns a record that can be changed without changing r.
func (r *Record) clone() Record {
	c := *r
	c.Accusations, c.Decisions = slices.Clone(r.Accusations), slices.Clone(r.Decisions)
	if r.Shed != nil {
		shed := *r.Shed
		c.Shed = &shed
	}
	return c
}
