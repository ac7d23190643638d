package rollback

import (
	"slices"
	"time"
)

// Notified is what one channel has sent about a record. The next leader reads it, so that
// it sends every entry once.
type Notified struct {
	// Entries are the keys of the timeline entries that were sent.
	Entries []string `json:"entries,omitempty"`
	// MessageID identifies the message in a channel that can update it, such as Slack's
	// "<channel>:<timestamp>".
	MessageID string `json:"messageID,omitempty"`
	// At is when the channel last sent something.
	At time.Time `json:"at,omitzero"`
}

// Add returns what n and other have sent together: the entries of n come first, and the
// message is that of the later one.
func (n Notified) Add(other Notified) Notified {
	entries := slices.Clone(n.Entries)
	for _, entry := range other.Entries {
		if !slices.Contains(entries, entry) {
			entries = append(entries, entry)
		}
	}
	all := Notified{Entries: entries, MessageID: n.MessageID, At: n.At}
	if other.MessageID != "" && (n.MessageID == "" || !other.At.Before(n.At)) {
		all.MessageID = other.MessageID
	}
	if other.At.After(n.At) {
		all.At = other.At
	}
	return all
}

// MaxEntries bounds the entries of a channel that a record keeps, more than one timeline has.
const MaxEntries = 100

// Bounded returns n with MaxEntries entries at most. It drops the oldest first, and none of a
// timeline, by the keys of its entries: those would be sent again.
func (n Notified) Bounded(timeline []string) Notified {
	excess := len(n.Entries) - MaxEntries
	n.Entries = slices.DeleteFunc(slices.Clone(n.Entries), func(entry string) bool {
		if excess <= 0 || slices.Contains(timeline, entry) {
			return false
		}
		excess--
		return true
	})
	return n
}

// Has reports whether an entry was sent.
func (n Notified) Has(entry string) bool { return slices.Contains(n.Entries, entry) }
