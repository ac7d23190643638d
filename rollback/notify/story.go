package notify

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/upcommerce/backout/rollback"
)

// Word is what a line is about: the type of a CloudEvent and the reason of a
// Kubernetes Event.
type Word string

// The words. The set is closed: Words lists it.
const (
	Accused      Word = "accused"
	Shed         Word = "shed"
	RolledBack   Word = "rolled-back"
	Raised       Word = "raised"
	Recovered    Word = "recovered"
	Restored     Word = "restored"
	NotRecovered Word = "not-recovered"
	Unjudged     Word = "unjudged"
	Held         Word = "held"
	Released     Word = "released"
	Returned     Word = "returned"
	Waiting      Word = "waiting"
	NeedsHelp    Word = "needs-help"
	Failed       Word = "failed"
	Storm        Word = "storm"
	Paused       Word = "paused"
	Observed     Word = "observed"
	OptedOut     Word = "opted-out"
	NothingLeft  Word = "nothing-left"
)

// Words returns every word.
func Words() []Word {
	return []Word{
		Accused, Shed, RolledBack, Raised, Recovered, Restored, NotRecovered, Unjudged, Held, Released, Returned,
		Waiting, NeedsHelp, Failed, Storm, Paused, Observed, OptedOut, NothingLeft,
	}
}

// reason returns the word as Kubernetes writes reasons, such as BackoutRolledBack.
func (w Word) reason() string {
	var b strings.Builder
	b.WriteString("Backout")
	for part := range strings.SplitSeq(string(w), "-") {
		b.WriteString(strings.ToUpper(part[:1]) + part[1:])
	}
	return b.String()
}

// Line is one thing that happened.
type Line struct {
	// Key names it within its record, for ever: what was told is known by it.
	Key  string    `json:"key"`
	At   time.Time `json:"at"`
	Word Word      `json:"word"`
	// Text may hold a stranger's words.
	Text string `json:"text"`
	// Outcome is false for details.
	Outcome bool `json:"outcome"`
	// Help says that a person had to look then.
	Help bool `json:"help"`
}

// tell returns what happened, oldest first. An accusation alone is no story: the
// alert has its own way to people.
func tell(r *rollback.Record) []Line {
	var story []Line
	story = append(story, decided(r)...)
	story = append(story, stepped(r)...)
	story = append(story, held(r)...)
	story = append(story, judged(r)...)
	if len(story) == 0 {
		return []Line{}
	}
	if !r.Closed.IsZero() && standing(r) == Quiet {
		// Whoever was called is to know that it is over.
		story = append(story, Line{
			Key: stamped(NothingLeft, r.Closed), At: r.Closed, Word: NothingLeft, Outcome: true,
			Text: "nothing is left to do: " + r.Decision().Reason,
		})
	}
	for _, a := range r.Accusations {
		text := fmt.Sprintf("%s accuses revision %d", orUnnamed(a.Alert), r.Revision)
		if a.By != "" {
			text = fmt.Sprintf("%s orders a hold of revision %d", a.By, r.Revision)
		}
		if a.Summary != "" {
			text += ": " + a.Summary
		}
		key := "accused/" + a.Fingerprint + "/" + strconv.FormatInt(a.StartsAt.Unix(), 10)
		story = append(story, Line{Key: key, At: a.Received, Word: Accused, Text: text})
	}
	slices.SortStableFunc(story, func(a, b Line) int { return a.At.Compare(b.At) })
	return story
}

func orUnnamed(alert string) string {
	if alert == "" {
		return "an alert without a name"
	}
	return alert
}

// decided tells the decisions that people need to know, each once: an alert that
// comes and goes says nothing new.
func decided(r *rollback.Record) []Line {
	var story []Line
	add := func(d rollback.Decision, w Word, help bool) {
		key := string(w) + "/" + string(d.Verdict)
		if !slices.ContainsFunc(story, func(l Line) bool { return l.Key == key }) {
			story = append(story, Line{Key: key, At: d.At, Word: w, Text: d.Reason, Outcome: true, Help: help})
		}
	}
	for _, d := range r.Decisions {
		switch {
		case d.Verdict == rollback.Storming:
			add(d, Storm, true)
		case d.Verdict == rollback.Paused:
			add(d, Paused, true)
		case d.Verdict == rollback.Observe:
			add(d, Observed, false)
		case d.Verdict == rollback.NotAllowed:
			add(d, OptedOut, false)
		case d.People && (!d.Hold || nothingToHold(r)):
			add(d, NeedsHelp, true)
		case d.Waits && d.Shed && !d.Rollback && !d.Hold:
			add(d, Waiting, false)
		}
	}
	return story
}

// nothingToHold reports whether the shed found no canary's weight.
func nothingToHold(r *rollback.Record) bool {
	return r.Shed.Succeeded() && len(r.Weights) == 0
}

// patience is how often a shed is tried before people are told.
const patience = 5

func stepped(r *rollback.Record) []Line {
	var story []Line
	ok := func(s *rollback.Step, w Word, outcome bool, text string) {
		story = append(story, Line{Key: stamped(w, s.Done), At: s.Done, Word: w, Text: text, Outcome: outcome})
	}
	failed := func(what string, s *rollback.Step, text string) {
		story = append(story, Line{Key: "failed/" + what, At: s.Started, Word: Failed, Text: text, Outcome: true, Help: true})
	}
	switch s := r.Shed; {
	case s.Succeeded() && len(r.Weights) == 0:
		ok(s, Shed, false, "nothing to take out of the traffic: "+s.Note)
	case s.Succeeded():
		ok(s, Shed, false, "the canary is out of the traffic: "+weights(r.Weights))
	case s != nil && (s.Failed || s.Attempts >= patience):
		failed("shed", s, "the canary's weight could not be set to zero: "+s.Error)
	}
	switch s := r.Rollback; {
	case s.Succeeded():
		ok(s, RolledBack, true, fmt.Sprintf("rolled back from revision %d to %d, as revision %d", r.Revision, r.Target, r.Made))
	case s.Finished():
		failed("rollback", s, fmt.Sprintf("the rollback to revision %d did not work: %s", r.Target, s.Error))
	}
	switch s := r.Raise; {
	case s.Succeeded():
		ok(s, Raised, false, fmt.Sprintf("the pods of revision %d are ready; the canary has its weight back", r.Made))
	case s.Finished():
		failed("raise", s, "the canary's weight stays as it is: "+s.Error)
	}
	return story
}

func weights(all []rollback.Weight) string {
	texts := make([]string, len(all))
	for i, w := range all {
		texts[i] = w.String()
	}
	return strings.Join(texts, ", ")
}

// stamped makes what may happen again another thing.
func stamped(w Word, at time.Time) string {
	return string(w) + "/" + strconv.FormatInt(at.Unix(), 10)
}

func held(r *rollback.Record) []Line {
	h := r.Hold
	if h == nil {
		return nil
	}
	if denied(r) {
		return []Line{{Key: stamped(Returned, h.Ended), At: h.Ended, Word: Returned, Text: h.Why, Outcome: true}}
	}
	d := holding(r)
	story := []Line{{
		Key: stamped(Held, h.Since), At: h.Since, Word: Held, Outcome: true, Help: d.People,
		Text: "the canary's weight stays zero: " + d.Reason,
	}}
	if !h.Ended.IsZero() {
		story = append(story, Line{
			Key: stamped(Released, h.Ended), At: h.Ended, Word: Released, Outcome: r.Rollback == nil,
			Text: "the hold is over: " + h.Why,
		})
	}
	return story
}

// holding returns the decision for which the weight was held: the last one that
// says so.
func holding(r *rollback.Record) rollback.Decision {
	for _, d := range slices.Backward(r.Decisions) {
		if d.Hold {
			return d
		}
	}
	return r.Decision()
}

// denied reports whether the weight was given back because Prometheus denied the
// alert.
func denied(r *rollback.Record) bool {
	return r.Hold != nil && !r.Hold.Ended.IsZero() && !r.Hold.Lifted && r.Shed == nil && r.Decision().Verdict == rollback.Unconfirmed
}

func judged(r *rollback.Record) []Line {
	line := Line{Word: Word(r.Outcome), Key: string(r.Outcome), At: r.Opened, Outcome: true}
	if r.Verify.Succeeded() {
		line.At, line.Text = r.Verify.Done, r.Verify.Note
	}
	switch r.Outcome {
	case rollback.Recovered, rollback.Restored:
	case rollback.NotRecovered:
		line.Help = true
		if !r.Verify.Succeeded() && r.Raise != nil {
			line.At = r.Raise.Started
			line.Text = fmt.Sprintf("the pods of revision %d are not ready, long after the rollback: %s", r.Made, r.Raise.Error)
		}
	default:
		if !r.Verify.Succeeded() {
			return nil
		}
		line.Word, line.Key = Unjudged, string(Unjudged)
	}
	return []Line{line}
}
