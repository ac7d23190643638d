package rollback

import (
	"fmt"
	"strings"
)

// conflicts says of each held weight what whoever applies its object server-side will
// meet, and what to do about it.
func (r *Record) conflicts() []string {
	var texts []string
	for _, w := range r.Weights {
		if w.Applier != "" {
			texts = append(texts, fmt.Sprintf("%s applies %s/%s server-side: its next upgrade is refused as a conflict with field manager backout, unless somebody runs before it: %s",
				w.Applier, w.Kind, w.Name, Case{Key: r.Key}.lift()))
		}
	}
	return texts
}

// Summary tells the record in one line for people.
func (r *Record) Summary() string {
	d := r.Decision()
	parts := []string{fmt.Sprintf("revision %d of %s: %s", r.Revision, r.Key, d.Verdict)}
	if r.Shed.Succeeded() {
		for _, w := range r.Weights {
			parts = append(parts, w.String())
		}
	}
	if r.Rollback.Succeeded() {
		parts = append(parts, fmt.Sprintf("rolled back to revision %d as revision %d", r.Target, r.Made))
	}
	if r.Outcome != "" {
		parts = append(parts, string(r.Outcome))
	}
	if r.Hold.Lasts() {
		parts = append(parts, "held at zero")
		parts = append(parts, r.conflicts()...)
	}
	for _, s := range r.steps() {
		switch {
		case s != nil && s.Failed:
			parts = append(parts, s.Error)
		case s != nil && !s.Finished() && s.Error != "":
			parts = append(parts, "not yet: "+s.Error)
		case s != nil && s.Note != "":
			parts = append(parts, s.Note)
		}
	}
	text := strings.Join(parts, "; ")
	if d.Reason != "" {
		text += " (" + d.Reason + ")"
	}
	if d.People && d.Do != "" && r.Closed.IsZero() {
		text += "; by hand: " + d.Do
	}
	return text
}
