package rollback

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// ManualRollback is a rollback that an operator carries out with `backout rollback`. While it is
// active, backout leaves the release alone. It is not signed, because the command has no key,
// and makes backout do nothing else.
type ManualRollback struct {
	Operator string `json:"operator"`
	// ID is that of the process that carries it out: one that lost the claim stops. It is "" if
	// the process has said that it ends.
	ID     string `json:"id,omitempty"`
	Target int    `json:"target"`
	// Allow are the dangers that the operator accepts.
	Allow   []DangerKind `json:"allow,omitempty"`
	Started time.Time    `json:"started"`
	// Progress is when the command last reported that it works on it.
	Progress time.Time `json:"progress"`
	// Quiet is since when a leader has seen no progress, by its own clock; zero as long as there is.
	// A new leader goes on from there.
	Quiet time.Time `json:"quiet,omitzero"`
	// Stalled is when backout found no progress for ManualPatience; zero as long as there is.
	Stalled time.Time `json:"stalled,omitzero"`
	// Made is the revision that Helm made, 0 before.
	Made int `json:"made,omitempty"`
	// Ended is when it ended, zero while it is active; Note says how.
	Ended time.Time `json:"ended,omitzero"`
	Note  string    `json:"note,omitempty"`
}

// ManualPatience is how long an active ManualRollback may be without progress before backout
// asks for help.
const ManualPatience = 2 * time.Minute

// Active reports whether backout has to leave the release to the operator; a nil m never began.
func (m *ManualRollback) Active() bool { return m != nil && m.Ended.IsZero() }

// describe says who carries it out, for a reason.
func (m *ManualRollback) describe() string {
	return fmt.Sprintf("%s rolls the release back to revision %d with backout rollback, since %s",
		cmp.Or(Clip(Printable(m.Operator), MaxName), "an operator"), m.Target, m.Started.UTC().Format(time.RFC3339))
}

// ManualCommand is the command that carries out an active manual rollback, again if need be. It
// accepts no danger: Allow is not signed, and each operator has to accept them.
func (r *Record) ManualCommand() Command {
	if !r.Manual.Active() {
		return Command{}
	}
	return r.RollbackCommand(r.Manual.Target)
}

// ManualClaim returns the record of an active manual rollback of this history, and whether
// there is one. One that another client has overtaken, by writing a revision, does not count.
func ManualClaim(h History, records []Record) (Record, bool) {
	for _, r := range records {
		own, ok := h.Named(r.Revision)
		from, _ := h.From(r.UID)
		if r.Manual.Active() && ok && own.UID == r.UID && (from.Newest().UID == r.UID || h.Newest().Claim == r.UID) {
			return r, true
		}
	}
	return Record{}, false
}

// pausedBy says who keeps backout off the release: an operator who paused it, or one who rolls
// it back manually; "" if backout may act.
func (c Case) pausedBy() string {
	if c.Paused != "" {
		return c.Paused
	}
	// The operator may roll back a failed revision above the one that runs.
	if r, ok := ManualClaim(slices.Concat(History(c.Unfinished), c.History), c.Records); ok {
		return r.Manual.describe()
	}
	return ""
}

// ManualTarget returns the revision to which an operator's command rolls the newest revision
// of the case back, and what the operator should know about it; "" for nothing. With to = 0 it
// is the one that backout would choose. Its error says which revision to name instead.
func (c Case) ManualTarget(to int) (Revision, string, error) {
	suspect := c.History.Newest()
	hint := fmt.Sprintf("look for another one with: %s", c.Key.HelmHistoryCommand().In(suspect.Storage))
	if to == 0 {
		target, ok := c.target()
		if !ok {
			return Revision{}, "", fmt.Errorf("no revision older than %d is good and has different content: name one with --to; %s", suspect.Number, hint)
		}
		return target, "", nil
	}
	target, ok := c.History.Named(to)
	switch {
	case !ok:
		return Revision{}, "", fmt.Errorf("the release has no revision %d; %s", to, hint)
	case to >= suspect.Number:
		return Revision{}, "", fmt.Errorf("revision %d is not older than revision %d, which is to be rolled back; %s", to, suspect.Number, hint)
	case target.Unreadable != "" || !target.good():
		return Revision{}, "", fmt.Errorf("revision %d is not a target: %s; %s", to, target.unfitFor(suspect, nil), hint)
	}
	return target, target.unfitFor(suspect, knownBadSigned(c.History.withContents(c.Records))), nil
}
