package ledger

import (
	"fmt"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/upcommerce/backout/rollback"
)

// legacySignals is where records of the old form have their signals: every one has this
// field, even without signals, and no record of the current form has it.
const legacySignals = "accusations" // words:api accusations

// unmarshal decodes the text of a record, of the current form or of the one that
// earlier versions of backout stored. Records of the old form are stored in the current
// one when they are saved again.
func unmarshal(text string) (rollback.Record, error) {
	var r rollback.Record
	if strings.Contains(text, legacySignals) { // which an alert's text may do, too
		upgraded, err := upgrade(text)
		if err != nil {
			return r, err
		}
		text = upgraded
	}
	err := yaml.Unmarshal([]byte(text), &r)
	return r, err
}

// upgrade returns a record's text in the current form; text itself if it is not of the
// old form.
func upgrade(text string) (string, error) {
	var record fields
	if err := yaml.Unmarshal([]byte(text), &record); err != nil {
		return "", err
	}
	if _, old := record[legacySignals]; !old {
		return text, nil
	}
	record.upgrade()
	upgraded, err := yaml.Marshal(record)
	if err != nil {
		return "", fmt.Errorf("upgrade the record: %w", err)
	}
	return string(upgraded), nil
}

// fields are a decoded object: a record or a part of one.
type fields map[string]any

// upgrade gives every field of a record its current name.
func (f fields) upgrade() {
	f.rename(legacySignals, "signals")
	f.rename("uncounted", "droppedSignals")
	f.rename("grounds", "trace")
	f.rename("check", "preflight")
	f.rename("checked", "preflightTarget")
	f.rename("raise", "restore")
	f.rename("told", "notified") // words:api told
	for _, signal := range f.list("signals") {
		signal.rename("by", "operator")
	}
	for _, decision := range f.list("decisions") {
		decision.rename("people", "needsHelp") // words:api people
		decision.rename("do", "command")
		decision.rename("again", "recheckAt")
	}
	for _, weight := range f.list("weights") {
		weight.rename("applier", "fieldManager")
	}
	f.object("hold").rename("why", "reason")
	owner := f.object("owner")
	owner.rename("do", "command")
	owner.rename("weights", "setsWeights")
	f.object("trace").upgradeTrace()
	notified := f.object("notified")
	for channel := range notified {
		notified.object(channel).upgradeNotified()
	}
}

func (f fields) upgradeTrace() {
	f.rename("looked", "checks")
	for _, check := range f.list("checks") {
		check.rename("what", "name")
		check.rename("found", "result")
	}
	for _, candidate := range f.list("candidates") {
		candidate.rename("why", "reason")
	}
}

func (f fields) upgradeNotified() {
	f.rename("lines", "entries")
	f.rename("place", "messageID")
	entries, _ := f["entries"].([]any)
	for i, entry := range entries {
		if key, ok := entry.(string); ok {
			entries[i] = upgradeEntry(key)
		}
	}
}

// upgradeEntry returns the current key of a timeline entry, so that no channel is
// notified of it twice.
func upgradeEntry(key string) string {
	kind, rest, ok := strings.Cut(key, "/")
	switch kind {
	case "accused": // words:api accused
		kind = "signal"
	case "raised":
		kind = "weight-restored"
	case "released":
		kind = "hold-ended"
	case "returned":
		kind = "shed-undone"
	case "nothing-left":
		kind = "closed"
	case "unjudged":
		kind = "unverified"
	case "failed":
		if rest == "raise" {
			rest = "restore"
		}
	}
	if !ok {
		return kind
	}
	return kind + "/" + rest
}

// rename moves a field, unless there is one with the current name.
func (f fields) rename(old, current string) {
	value, found := f[old]
	if _, taken := f[current]; !found || taken {
		return
	}
	f[current] = value
	delete(f, old)
}

// object returns the field's object; nil, of which every field is absent, if it is not
// one.
func (f fields) object(name string) fields {
	object, _ := f[name].(map[string]any)
	return object
}

// list returns the objects in the field's list; none if it is not a list.
func (f fields) list(name string) []fields {
	items, _ := f[name].([]any)
	var objects []fields
	for _, item := range items {
		if object, ok := item.(map[string]any); ok {
			objects = append(objects, object)
		}
	}
	return objects
}
