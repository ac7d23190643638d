package rollback

import (
	"fmt"
	"slices"
	"time"
)

// maxIgnored bounds the parts that a record notes as ignored.
const maxIgnored = 10

// Part is a part of a record that backout signs by itself: every client that may write
// ConfigMaps in the namespace can write a record, and only backout can sign it.
//
// The parts that an operator's command leaves in a record name the operator and are not
// signed. They can stop backout or keep a weight at zero; they start nothing. A hold is not
// signed either, for the same reason.
type Part struct {
	// Name says for operators which part it is.
	Name string
	// Of identifies the record: a part counts in no other.
	Of RecordIdentity
	// Content is what is signed, in its stored form.
	Content any
}

// RecordIdentity are the fields of a record that never change.
type RecordIdentity struct {
	Key      `json:",inline"`
	Revision int       `json:"revision"`
	UID      string    `json:"uid"`
	Content  string    `json:"content"`
	Opened   time.Time `json:"opened"`
}

// The contents of parts that consist of several fields of a record.
type (
	preflightPart struct {
		Step    *Step    `json:"preflight"`
		Target  int      `json:"target"`
		Dangers []Danger `json:"dangers"`
		Owner   Owner    `json:"owner"`
	}
	shedPart struct {
		Step    *Step    `json:"shed"`
		Weights []Weight `json:"weights"`
	}
	rollbackPart struct {
		Rollback *Step   `json:"rollback"`
		Restore  *Step   `json:"restore"`
		Verify   *Step   `json:"verify"`
		Outcome  Outcome `json:"outcome"`
		Target   int     `json:"target"`
		Made     int     `json:"made"`
	}
)

// part returns a part of r.
func (r *Record) part(name string, content any) Part {
	return Part{
		Name: name, Content: content,
		Of: RecordIdentity{Key: r.Key, Revision: r.Revision, UID: r.UID, Content: r.Content, Opened: r.Opened},
	}
}

func (r *Record) signalPart(s Signal) Part {
	return r.part("the alert "+Clip(Printable(s.Alert), MaxName), struct {
		Signal Signal `json:"signal"`
	}{s})
}

func (r *Record) decisionPart(d Decision) Part {
	return r.part("the decision "+Clip(Printable(string(d.Verdict)), MaxName), struct {
		Decision Decision `json:"decision"`
	}{d})
}

func (r *Record) preflightPart() Part {
	return r.part("the preflight", preflightPart{r.Preflight, r.PreflightTarget, r.Dangers, r.Owner})
}

func (r *Record) shedPart() Part { return r.part("the shed", shedPart{r.Shed, r.Weights}) }

func (r *Record) rollbackPart() Part {
	return r.part("the rollback", rollbackPart{r.Rollback, r.Restore, r.Verify, r.Outcome, r.Target, r.Made})
}

// The parts that a record may have, apart from signals and decisions.
func (r *Record) hasPreflight() bool {
	return r.Preflight != nil || r.PreflightTarget != 0 || len(r.Dangers) > 0 || r.Owner != (Owner{})
}

func (r *Record) hasOwnShed() bool {
	return r.Shed != nil && r.Shed.Operator == "" || r.Shed == nil && len(r.Weights) > 0
}

func (r *Record) hasRollback() bool {
	return r.Rollback != nil || r.Restore != nil || r.Verify != nil || r.Outcome != "" || r.Target != 0 || r.Made != 0
}

// Parts returns the parts that backout signs when it stores the record.
func (r *Record) Parts() []Part {
	var parts []Part
	for _, s := range r.Signals {
		if s.Operator == "" {
			parts = append(parts, r.signalPart(s))
		}
	}
	for _, d := range r.Decisions {
		if d.Operator == "" {
			parts = append(parts, r.decisionPart(d))
		}
	}
	if r.hasPreflight() {
		parts = append(parts, r.preflightPart())
	}
	if r.hasOwnShed() {
		parts = append(parts, r.shedPart())
	}
	if r.hasRollback() {
		parts = append(parts, r.rollbackPart())
	}
	return parts
}

// KeepSigned removes from a record that was read what could start a step and is not signed,
// and notes it in Ignored. It returns the names of the parts that it removed.
//
// Of a closed record it leaves what stops backout: steps that have ended, which make content
// known bad. A weight that an unsigned shed has left at zero stays there, in a hold.
func (r *Record) KeepSigned(signed func(Part) bool) []string {
	r.restrictOperator()
	var removed []string
	drop := func(p Part) bool {
		if signed(p) {
			return false
		}
		removed = append(removed, p.Name)
		return true
	}
	// A part that is removed changes no other: each is signed by itself.
	r.Signals = slices.DeleteFunc(r.Signals, func(s Signal) bool { return s.Operator == "" && drop(r.signalPart(s)) })
	r.keepDecisions(drop)
	if r.hasPreflight() && drop(r.preflightPart()) {
		r.Preflight, r.PreflightTarget, r.Dangers, r.Owner = nil, 0, nil, Owner{}
	}
	if r.hasRollback() && drop(r.rollbackPart()) {
		r.dropRollback()
	}
	if r.hasOwnShed() && drop(r.shedPart()) {
		r.dropShed()
	}
	for _, name := range removed {
		if len(r.Ignored) < maxIgnored && !slices.Contains(r.Ignored, name) {
			r.Ignored = append(r.Ignored, name)
		}
	}
	return removed
}

// keepDecisions removes the decisions that drop names. A closed record keeps its decisions
// as a history, without what they had backout do.
func (r *Record) keepDecisions(drop func(Part) bool) {
	kept := r.Decisions[:0]
	for _, d := range r.Decisions {
		switch {
		case d.Operator != "" || !drop(r.decisionPart(d)):
			kept = append(kept, d)
		case !r.Closed.IsZero():
			d.Shed, d.Rollback, d.Target, d.Waits, d.RecheckAt, d.Command = false, false, 0, false, time.Time{}, Command{}
			kept = append(kept, d)
		}
	}
	r.Decisions = kept
}

// dropShed removes a shed that is not signed. One that has ended means that the weight may
// be zero, and so becomes a hold.
func (r *Record) dropShed() {
	done := r.Shed.Succeeded()
	switch {
	case done && !r.Closed.IsZero():
		r.Shed = &Step{Started: r.Shed.Started, Done: r.Shed.Done}
		return
	case done && r.Hold == nil && r.Rollback == nil:
		r.Hold = &Hold{Since: r.Shed.Done}
	}
	r.Shed, r.Weights = nil, nil
}

// dropRollback removes a rollback that is not signed. A closed record keeps it if nothing of
// it is left to do, and otherwise as a failed one: its content stays known bad.
func (r *Record) dropRollback() {
	closed := !r.Closed.IsZero() && r.Rollback != nil
	over := r.Restore.Finished() && (r.Restore.Failed || r.Verify.Finished())
	switch {
	case closed && (r.Rollback.Failed || r.Rollback.Finished() && over):
	case closed:
		r.Rollback = &Step{Started: r.Rollback.Started, Failed: true, Error: "backout has not signed it"}
		r.Restore, r.Verify = nil, nil
	default:
		r.Rollback, r.Restore, r.Verify, r.Outcome, r.Target, r.Made = nil, nil, nil, "", 0, 0
	}
}

// restrictOperator reduces what names an operator to what an order may say: that the weight
// is to stay at zero, and that the operator has set it.
func (r *Record) restrictOperator() {
	for i, d := range r.Decisions {
		if d.Operator != "" {
			r.Decisions[i] = OrderedHold(r.Key, d.Operator, d.At)
		}
	}
	if r.Shed == nil || r.Shed.Operator == "" {
		return
	}
	r.Shed = &Step{Operator: r.Shed.Operator, Started: r.Shed.Started, Done: r.Shed.Done}
}

// OrderedHold is the decision that an operator's command writes: to hold the weight, which
// the command itself has set to zero.
func OrderedHold(k Key, operator string, at time.Time) Decision {
	operator = Clip(Printable(operator), MaxName)
	return Decision{
		Verdict: Act, Hold: true, Operator: operator, At: at, Command: k.UnholdCommand(),
		Reason: fmt.Sprintf("%s asks to hold the canary at zero", operator),
	}
}
