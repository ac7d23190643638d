package rollback

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"time"
)

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
	Canary   string    `json:"canary,omitempty"`
	Storage  Storage   `json:"storage,omitempty"`
	Track    string    `json:"trackLabel,omitempty"`
}

// The parts. Work is one part, so that no older state of one field is next to a newer
// one of another. The shed is the other: a command that sets the weight replaces it.
type (
	workPart struct {
		Signals         []Signal            `json:"signals"`
		Decisions       []Decision          `json:"decisions"`
		Preflight       *Step               `json:"preflight"`
		PreflightTarget int                 `json:"preflightTarget"`
		Dangers         []Danger            `json:"dangers"`
		Owner           Owner               `json:"owner"`
		Differences     []string            `json:"differences,omitempty"` // younger than the first signed records
		Rollback        *Step               `json:"rollback"`
		Restore         *Step               `json:"restore"`
		Verify          *Step               `json:"verify"`
		Outcome         Outcome             `json:"outcome"`
		Target          int                 `json:"target"`
		Made            int                 `json:"made"`
		Notified        map[string]Notified `json:"notified"`
	}
	shedPart struct {
		Step    *Step    `json:"shed"`
		Weights []Weight `json:"weights"`
	}
)

func ofOperator(s Signal) bool { return s.Operator != "" }

func byOperator(d Decision) bool { return d.Operator != "" }

// work returns what backout has done about the record but the shed. Lists without an entry
// are absent in it, as when they are read.
func (r *Record) work() workPart {
	w := workPart{
		Signals: slices.DeleteFunc(slices.Clone(r.Signals), ofOperator), Decisions: slices.DeleteFunc(slices.Clone(r.Decisions), byOperator),
		Preflight: r.Preflight, PreflightTarget: r.PreflightTarget, Dangers: r.Dangers, Owner: r.Owner, Differences: r.Differences,
		Rollback: r.Rollback, Restore: r.Restore, Verify: r.Verify, Outcome: r.Outcome, Target: r.Target, Made: r.Made,
	}
	if len(w.Signals) == 0 {
		w.Signals = nil
	}
	if len(w.Decisions) == 0 {
		w.Decisions = nil
	}
	if len(w.Dangers) == 0 {
		w.Dangers = nil
	}
	if len(w.Differences) == 0 {
		w.Differences = nil
	}
	return w
}

// hasWork reports whether anything in the record says that backout has worked on it.
func (r *Record) hasWork() bool { return !reflect.ValueOf(r.work()).IsZero() }

// workPart returns the part with the alerts, the decisions, the steps but the shed, and what
// the team was sent about them.
func (r *Record) workPart() Part {
	w := r.work()
	if len(r.Notified) > 0 {
		w.Notified = make(map[string]Notified, len(r.Notified))
		for channel, n := range r.Notified {
			if len(n.Entries) == 0 {
				n.Entries = nil
			}
			w.Notified[channel] = n
		}
	}
	return r.part("its alerts, decisions and steps", w)
}

func (r *Record) shedPart() Part {
	s := shedPart{Step: r.Shed}
	if len(r.Weights) > 0 {
		s.Weights = r.Weights
	}
	return r.part("its shed", s)
}

func (r *Record) part(name string, content any) Part {
	return Part{
		Name: name, Content: content,
		Of: RecordIdentity{
			Key: r.Key, Revision: r.Revision, UID: r.UID, Content: r.Content, Opened: r.Opened, Canary: r.Canary, Storage: r.Storage, Track: r.TrackLabel,
		},
	}
}

// hasOwnShed reports whether the record has a shed that no operator claims.
func (r *Record) hasOwnShed() bool {
	return r.Shed != nil && r.Shed.Operator == "" || r.Shed == nil && len(r.Weights) > 0
}

// Parts returns the parts that backout signs when it stores the record. It signs nothing that
// it has read without a signature: see Adopt.
func (r *Record) Parts() []Part {
	var parts []Part
	if r.hasWork() && !r.Unsigned {
		parts = append(parts, r.workPart())
	}
	if r.hasOwnShed() {
		parts = append(parts, r.shedPart())
	}
	return parts
}

// KeepSigned removes from a record that was read what could start a step and is not signed,
// and notes it in Ignored. It returns the names of the parts that it removed.
//
// Of a closed record it leaves that its content was backed out of; of one without a signature
// it does so in silence. A weight that an unsigned shed has left at zero stays there, in a
// hold.
func (r *Record) KeepSigned(signed func(Part) bool) []string {
	r.restrictOperator()
	var removed []string
	// Both are verified before one is removed.
	work, shed := r.workPart(), r.shedPart()
	noWork, noShed := r.hasWork() && !signed(work), r.hasOwnShed() && !signed(shed)
	if r.Unsigned = noWork || !r.hasWork(); r.Unsigned {
		// A channel does not repeat what it has sent, and begins with a message of its own.
		for channel, n := range r.Notified {
			n.MessageID = ""
			r.Notified[channel] = n
		}
	}
	// A version before that signed nothing has closed it.
	silent := !r.Closed.IsZero() && len(r.Signatures) == 0
	if noWork {
		removed = append(removed, work.Name)
		r.dropWork()
	}
	if noShed {
		removed = append(removed, shed.Name)
		r.dropShed()
	}
	if silent {
		return nil
	}
	for _, name := range removed {
		if !slices.Contains(r.Ignored, name) {
			r.Ignored = append(r.Ignored, name)
		}
	}
	return removed
}

// dropWork removes the alerts, decisions and steps. A closed record keeps the results of its
// steps, without a text and without a failure: they make its content known bad, and start
// nothing.
func (r *Record) dropWork() {
	last := r.Decision()
	r.Signals = slices.DeleteFunc(r.Signals, func(s Signal) bool { return !ofOperator(s) })
	r.Decisions = slices.DeleteFunc(r.Decisions, func(d Decision) bool { return !byOperator(d) })
	r.Preflight, r.PreflightTarget, r.Dangers, r.Owner = nil, 0, nil, Owner{}
	if r.Closed.IsZero() {
		r.Rollback, r.Restore, r.Verify, r.Outcome, r.Target, r.Made = nil, nil, nil, "", 0, 0
		return
	}
	r.Rollback, r.Restore, r.Verify = r.Rollback.ended(), r.Restore.ended(), r.Verify.ended()
	if r.Outcome == OutcomeNotRecovered {
		r.Outcome = ""
	}
	if last.Verdict != "" && last.Operator == "" {
		r.Decisions = append(r.Decisions, Decision{Verdict: last.Verdict, Reason: "backout has not signed this record", At: last.At})
	}
}

// ended returns a step without a text that has ended, at the latest when it began.
func (s *Step) ended() *Step {
	if s == nil {
		return nil
	}
	return &Step{Started: s.Started, Done: Later(s.Done, s.Started)}
}

// dropShed removes a shed that is not signed. In an open record, one that has ended means
// that the weight may be zero, and so becomes a hold.
func (r *Record) dropShed() {
	if r.Shed.Succeeded() && r.Closed.IsZero() && r.Hold == nil && r.Rollback == nil {
		r.Hold = &Hold{Since: r.Shed.Done}
	}
	r.Shed, r.Weights = nil, nil
}

// restrictOperator reduces what names an operator to what an order may say: that the weight
// is to stay at zero, and that the operator has set it.
func (r *Record) restrictOperator() {
	for i, s := range r.Signals {
		if ofOperator(s) {
			r.Signals[i] = Signal{
				Alert: "hold", Operator: s.Operator, Level: LevelShed, Fingerprint: s.Fingerprint, Summary: s.Summary,
				StartsAt: s.StartsAt, Received: s.Received, LastSeen: s.LastSeen,
			}
		}
	}
	for i, d := range r.Decisions {
		if byOperator(d) {
			ordered := OrderedHold(r.Key, d.Operator, d.At)
			ordered.Waits, ordered.RecheckAt = d.Waits, d.RecheckAt
			r.Decisions[i] = ordered
		}
	}
	if m := r.Manual; m != nil {
		allowed := slices.DeleteFunc(AllowableDangers(), func(kind DangerKind) bool { return !slices.Contains(m.Allow, kind) })
		r.Manual = &ManualRollback{
			Operator: Clip(m.Operator, MaxName), ID: Clip(m.ID, MaxName), Target: m.Target, Allow: allowed, Made: m.Made,
			Started: m.Started, Progress: m.Progress, Quiet: m.Quiet, Stalled: m.Stalled, Ended: m.Ended, Note: Clip(m.Note, MaxSummary),
		}
	}
	if r.Shed == nil || r.Shed.Operator == "" {
		return
	}
	r.Shed = &Step{Operator: r.Shed.Operator, Started: r.Shed.Started, Done: r.Shed.Done}
}

// Adopt begins to work on a record in which backout has signed nothing: what other clients
// have written about its identity is replaced by that of the suspect, and what is left of
// earlier work is removed.
func (r *Record) Adopt(suspect Revision, now time.Time) {
	if !r.Unsigned {
		return
	}
	r.Closed, r.Notified = time.Time{}, nil
	r.dropWork()
	r.Revision, r.UID, r.Content, r.Opened, r.Unsigned = suspect.Number, suspect.UID, suspect.Content, now, false
	r.Storage, r.Canary, r.TrackLabel = suspect.Storage, suspect.Canary, suspect.TrackLabel
}

// OrderedHold is the decision that an operator's command writes: to hold the weight, which
// the command itself has set to zero.
func OrderedHold(k Key, operator string, at time.Time) Decision {
	operator = cmp.Or(Clip(Printable(operator), MaxName), "an operator")
	return Decision{
		Verdict: Act, Hold: true, Operator: operator, At: at, Command: k.UnholdCommand(),
		Reason: fmt.Sprintf("%s asks to hold the canary at zero", operator),
	}
}
