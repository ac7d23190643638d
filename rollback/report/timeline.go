package report

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/upcommerce/backout/rollback"
)

// EntryKind says what an entry is about. It is part of the type of a CloudEvent and of
// the reason of a Kubernetes Event.
type EntryKind string

// The kinds. The set is closed: EntryKinds lists it.
const (
	EntrySignal         EntryKind = "signal"
	EntryShed           EntryKind = "shed"
	EntryRolledBack     EntryKind = "rolled-back"
	EntryWeightRestored EntryKind = "weight-restored"
	EntryRecovered      EntryKind = "recovered"
	EntryRestored       EntryKind = "restored"
	EntryNotRecovered   EntryKind = "not-recovered"
	EntryUnverified     EntryKind = "unverified"
	EntryHeld           EntryKind = "held"
	EntryHoldEnded      EntryKind = "hold-ended"
	EntryShedUndone     EntryKind = "shed-undone"
	EntryWaiting        EntryKind = "waiting"
	EntryNeedsHelp      EntryKind = "needs-help"
	EntryFailed         EntryKind = "failed"
	EntryStorm          EntryKind = "storm"
	EntryPaused         EntryKind = "paused"
	EntryObserved       EntryKind = "observed"
	EntryOptedOut       EntryKind = "opted-out"
	EntryClosed         EntryKind = "closed"
)

// EntryKinds returns every kind.
func EntryKinds() []EntryKind {
	return []EntryKind{
		EntrySignal, EntryShed, EntryRolledBack, EntryWeightRestored, EntryRecovered, EntryRestored, EntryNotRecovered,
		EntryUnverified, EntryHeld, EntryHoldEnded, EntryShedUndone, EntryWaiting, EntryNeedsHelp, EntryFailed, EntryStorm,
		EntryPaused, EntryObserved, EntryOptedOut, EntryClosed,
	}
}

// Reason returns the kind as Kubernetes writes reasons, such as BackoutRolledBack.
func (k EntryKind) Reason() string {
	var b strings.Builder
	b.WriteString("Backout")
	for part := range strings.SplitSeq(string(k), "-") {
		b.WriteString(strings.ToUpper(part[:1]) + part[1:])
	}
	return b.String()
}

// Entry is one thing that happened.
type Entry struct {
	// Key identifies the entry within its record and never changes: channels store the
	// keys of the entries that they have sent.
	Key  string    `json:"key"`
	At   time.Time `json:"at"`
	Kind EntryKind `json:"kind"`
	// Text may contain the text of an alert.
	Text string `json:"text"`
	// Outcome is false for details.
	Outcome bool `json:"outcome"`
	// NeedsHelp says that an operator had to look at that time.
	NeedsHelp bool `json:"needsHelp"`
}

// timeline returns what happened, oldest first. A signal alone makes no timeline: the
// alert reaches the team by its own route.
func timeline(r *rollback.Record) []Entry {
	all := slices.Concat(decisionEntries(r), stepEntries(r), holdEntries(r), manualEntries(r), verificationEntries(r))
	if len(all) == 0 {
		return []Entry{}
	}
	if !r.Closed.IsZero() && StateOf(r) == StateNoAction {
		// Channels that asked for help report that it is no longer needed.
		all = append(all, Entry{
			Key: timedKey(EntryClosed, r.Closed), At: r.Closed, Kind: EntryClosed, Outcome: true,
			Text: "nothing is left to do: " + r.Decision().Reason,
		})
	}
	all = append(all, signalEntries(r)...)
	slices.SortStableFunc(all, func(a, b Entry) int { return a.At.Compare(b.At) })
	return all
}

// timedKey is the key of an entry that can occur more than once.
func timedKey(k EntryKind, at time.Time) string {
	return string(k) + "/" + strconv.FormatInt(at.Unix(), 10)
}
