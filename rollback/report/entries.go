package report

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/upcommerce/backout/rollback"
)

func signalEntries(r *rollback.Record) []Entry {
	var all []Entry
	for _, s := range r.Signals {
		text := fmt.Sprintf("%s fires for revision %d", alertName(s.Alert), r.Revision)
		if s.Operator != "" {
			text = fmt.Sprintf("%s orders a hold of revision %d", s.Operator, r.Revision)
		}
		if s.Summary != "" {
			text += ": " + s.Summary
		}
		key := string(EntrySignal) + "/" + s.Fingerprint + "/" + strconv.FormatInt(s.StartsAt.Unix(), 10)
		all = append(all, Entry{Key: key, At: s.Received, Kind: EntrySignal, Text: text})
	}
	return all
}

func alertName(alert string) string {
	if alert == "" {
		return "an alert without a name"
	}
	return alert
}

// decisionEntries returns the decisions that the team has to know about, each once: an
// alert that comes and goes adds nothing new.
func decisionEntries(r *rollback.Record) []Entry {
	var all []Entry
	add := func(d rollback.Decision, k EntryKind, needsHelp bool) {
		key := string(k) + "/" + string(d.Verdict)
		if !slices.ContainsFunc(all, func(e Entry) bool { return e.Key == key }) {
			all = append(all, Entry{Key: key, At: d.At, Kind: k, Text: d.Reason, Outcome: true, NeedsHelp: needsHelp})
		}
	}
	for _, d := range r.Decisions {
		switch {
		case d.Verdict == rollback.Storming && !d.Shed:
			add(d, EntryStorm, true)
		case d.Verdict == rollback.Paused:
			add(d, EntryPaused, true)
		case d.Verdict == rollback.Observe:
			add(d, EntryObserved, false)
		case d.Verdict == rollback.NotAllowed:
			add(d, EntryOptedOut, false)
		case leftToOperator(r, d):
			add(d, EntryNeedsHelp, true)
		case d.Waits && d.Shed && !d.Rollback && !d.Hold:
			add(d, EntryWaiting, false)
		}
	}
	return all
}

// stepEntries returns the steps that are done, that failed, or that keep failing.
func stepEntries(r *rollback.Record) []Entry {
	return slices.Concat(obstacleEntries(r), leftoverEntries(r), preflightEntries(r), shedEntries(r), rollbackEntries(r), restoreEntries(r))
}

// obstacleEntries returns the newest error outside of the steps.
func obstacleEntries(r *rollback.Record) []Entry {
	o := r.Obstacle
	if o == nil {
		return nil
	}
	e := failedEntry(stepNone, o, "backout cannot go on, and keeps trying")
	e.Key = "failing/" + timedKey(stepNone, o.Started)
	if obstructed(r) {
		return []Entry{e}
	}
	e.Text, e.NeedsHelp = "backout could not go on: "+o.Error, false
	over := doneEntry(EntryFailed, o.Done, "that is over, and backout goes on")
	over.Key = "over/" + timedKey(stepNone, o.Started)
	return []Entry{e, over}
}

// leftoverEntries returns the newest zero that no record accounted for.
func leftoverEntries(r *rollback.Record) []Entry {
	l := r.Leftover
	if l == nil {
		return nil
	}
	found := Entry{
		Key: timedKey("leftover", l.Started), At: l.Started, Kind: EntryNeedsHelp, Outcome: true, NeedsHelp: r.HasLeftover(),
		Text: "no open record accounts for a weight that is held at zero: " + l.Error,
	}
	if r.HasLeftover() {
		return []Entry{found}
	}
	over := Entry{Key: timedKey("leftover-over", l.Started), At: l.Done, Kind: EntryClosed, Outcome: true, Text: "no weight is held at zero any longer without a record"}
	return []Entry{found, over}
}

func preflightEntries(r *rollback.Record) []Entry {
	if !keepsFailing(r.Preflight) {
		return nil
	}
	return []Entry{failingEntry(r, stepPreflight, r.Preflight)}
}

func shedEntries(r *rollback.Record) []Entry {
	switch s := r.Shed; {
	case nothingToHold(r):
		return []Entry{doneEntry(EntryShed, s.Done, "there is no canary to take out of rotation: "+s.Note)}
	case s.Succeeded():
		text := "the canary is out of rotation: " + rollback.FormatWeights(r.Weights)
		if s.Note != "" {
			text = "a part of the canary is out of rotation: " + rollback.FormatWeights(r.Weights) + "; " + s.Note
		}
		return []Entry{doneEntry(EntryShed, s.Done, text)}
	case shedFails(r):
		return []Entry{failedEntry(rollback.StepShed, s, "the canary's weight could not be set to zero")}
	}
	return nil
}

func rollbackEntries(r *rollback.Record) []Entry {
	switch s := r.Rollback; {
	case s.Succeeded():
		e := doneEntry(EntryRolledBack, s.Done, fmt.Sprintf("rolled back from revision %d to %d, as revision %d", r.Revision, r.Target, r.Made)+aboutTarget(r))
		if text := differencesText(r); text != "" {
			e.Text += "; " + text
		}
		e.Outcome = true
		return []Entry{e}
	case s.Finished():
		return []Entry{failedEntry(rollback.StepRollback, s, fmt.Sprintf("the rollback to revision %d failed", r.Target))}
	case keepsFailing(s):
		return []Entry{failingEntry(r, rollback.StepRollback, s)}
	}
	return nil
}

func restoreEntries(r *rollback.Record) []Entry {
	switch s := r.Restore; {
	case s.Succeeded() && r.HoldsTarget():
		return []Entry{doneEntry(EntryHeld, s.Done, s.Note)}
	case s.Succeeded():
		text := fmt.Sprintf("the pods of revision %d are ready", r.Made)
		if atZero(r) {
			text += "; the canary has its weight back"
		}
		if s.Note != "" {
			text += "; " + s.Note
		}
		return []Entry{doneEntry(EntryWeightRestored, s.Done, text)}
	case s.Finished():
		return []Entry{failedEntry(rollback.StepRestore, s, "the canary's weight stays as it is")}
	case keepsFailing(s):
		return []Entry{failingEntry(r, rollback.StepRestore, s)}
	}
	return nil
}

func doneEntry(k EntryKind, at time.Time, text string) Entry {
	return Entry{Key: timedKey(k, at), At: at, Kind: k, Text: text}
}

// failedEntry is about a step that is not retried, or about a shed.
func failedEntry(step string, s *rollback.Step, text string) Entry {
	return Entry{
		Key: string(EntryFailed) + "/" + step, At: s.Started, Kind: EntryFailed, Text: text + ": " + s.Error,
		Outcome: true, NeedsHelp: true,
	}
}

// failingEntry is about a step that is retried. Its key differs from that of the
// failure for good, which is reported as well.
func failingEntry(r *rollback.Record, step string, s *rollback.Step) Entry {
	e := failedEntry(step, s, "the "+stepNoun(r, step)+" keeps failing and is retried")
	e.Key = "failing/" + step
	return e
}

func holdEntries(r *rollback.Record) []Entry {
	h := r.Hold
	if h == nil {
		return nil
	}
	if shedUndone(r) {
		e := doneEntry(EntryShedUndone, h.Ended, h.Reason)
		e.Outcome = true
		return []Entry{e}
	}
	d := holdDecision(r)
	held := doneEntry(EntryHeld, h.Since, "the canary's weight stays zero: "+d.Reason)
	held.Outcome, held.NeedsHelp = true, d.NeedsHelp
	entries := append([]Entry{held}, reopenedEntries(h)...)
	if h.Ended.IsZero() {
		return entries
	}
	ended := doneEntry(EntryHoldEnded, h.Ended, "the hold is over: "+h.Reason)
	ended.Outcome = r.Rollback == nil
	return append(entries, ended)
}

// reopenedEntries says that a client that is not an operator gave the canary a weight: once,
// and once more if that goes on or cannot be ended.
func reopenedEntries(h *rollback.Hold) []Entry {
	if h.Reopened == 0 {
		return nil
	}
	key := "reopened"
	if h.Problem != "" || h.KeepsReopening() {
		key = "reopening"
	}
	return []Entry{{
		Key: timedKey(EntryKind(key), h.Since), At: h.ReopenedAt, Kind: EntryNeedsHelp, Text: reopenedText(h),
		Outcome: true, NeedsHelp: h.Ended.IsZero(),
	}}
}

func verificationEntries(r *rollback.Record) []Entry {
	e := Entry{Kind: EntryKind(r.Outcome), Key: string(r.Outcome), At: r.Opened, Outcome: true}
	if r.Verify.Succeeded() {
		e.At, e.Text = r.Verify.Done, r.Verify.Note
	}
	switch r.Outcome {
	case rollback.OutcomeRecovered, rollback.OutcomeRestored:
	case rollback.OutcomeNotRecovered:
		e.NeedsHelp = true
		if podsLate(r) {
			e.At = r.Restore.Started
			e.Text = fmt.Sprintf("the pods of revision %d are not ready, long after the rollback: %s", r.Made, r.Restore.Error)
		}
	default:
		if !r.Verify.Succeeded() {
			return nil
		}
		e.Kind, e.Key = EntryUnverified, string(EntryUnverified)
	}
	return []Entry{e}
}
