package rollback

import (
	"cmp"
	"fmt"
	"strings"
	"time"
)

// Explanation tells a record so that somebody who knows nothing of it understands
// what was decided, why, and what is to be done. Terminal and status page show the
// same.
type Explanation struct {
	// Title names the release and its revision.
	Title string
	// Accused is when backout first heard of it.
	Accused time.Time
	State   State
	// Headline is what happened, in one sentence.
	Headline string
	Advice   Advice
	Sections []Section
}

// Advice is what a person is to do now.
type Advice struct {
	Text string `json:"text"`
	// Do is a command that helps; "" if there is none.
	Do string `json:"do,omitempty"`
}

// Section is one part of an explanation.
type Section struct {
	Title string
	Facts []Fact
}

// Fact is one line of a section.
type Fact struct {
	// At is when it was, zero if that does not matter. After is the time since the
	// receipt of the first alert.
	At    time.Time
	After time.Duration
	// Name is what the fact is about, Text what is the case.
	Name, Text string
	// Bad marks what went wrong, Good what was chosen or went well; most facts are
	// neither. The text says it too.
	Bad, Good bool
	// Link leads to where more is to be seen, by http or https; "" if to nowhere.
	Link string
}

// Explain tells the record. It is pure, and needs nothing but the record.
func Explain(r Record) Explanation {
	e := Explanation{
		Title: fmt.Sprintf("revision %d of %s", r.Revision, r.Key), Accused: r.receivedAt(), State: r.State(),
		Headline: r.headline(), Advice: r.advice(),
	}
	for _, s := range []Section{
		{"What was seen", r.accused()},
		{"What was looked at", r.looked()},
		{"Which revision to go back to", r.considered()},
		{"What was decided", r.decided()},
		{"What was done", r.done()},
		{"Who was told", r.audience()},
	} {
		if len(s.Facts) > 0 {
			e.Sections = append(e.Sections, s)
		}
	}
	return e
}

// headline says what happened in one sentence.
func (r *Record) headline() string {
	switch r.State() {
	case StateRecovered:
		return fmt.Sprintf("Rolled back to revision %d, and that helped%s.", r.Target, r.judgement())
	case StateRestored:
		return fmt.Sprintf("Rolled back to revision %d. The alert is quiet, but with too little traffic to prove that it helped.", r.Target)
	case StateNotRecovered:
		return fmt.Sprintf("Rolled back to revision %d, and that did not help%s.", r.Target, r.judgement())
	case StateUnjudged:
		return fmt.Sprintf("Rolled back to revision %d; the release moved on before it was known whether that helped.", r.Target)
	case StateFailed:
		if r.Rollback.Failed {
			return fmt.Sprintf("The rollback to revision %d could not be done; it is not tried again.", r.Target)
		}
		return fmt.Sprintf("Rolled back to revision %d, but the weight was not raised again.", r.Target)
	case StateWatching:
		return fmt.Sprintf("Rolled back to revision %d. Now it is watched whether that helps.", r.Target)
	case StateActing:
		return "Being acted upon now" + r.zeroed() + "."
	case StateWaiting:
		return "Waiting" + r.zeroed() + ": " + r.Decision().Reason + "."
	case StateHeld:
		return "Held at zero, not rolled back: " + r.Decision().Reason + "."
	case StateReleased:
		return "The canary was held at zero; that is over: " + r.Hold.Why + "."
	case StateUntouched:
		return "Nothing was done: " + r.Decision().Reason + "."
	default:
		return r.Summary()
	}
}

// judgement is what was found when the outcome was judged.
func (r *Record) judgement() string {
	if r.Verify == nil || r.Verify.Note == "" {
		return ""
	}
	return ": " + r.Verify.Note
}

// again tells when a decision is taken again at the latest.
func again(d Decision) string {
	if d.Again.IsZero() {
		return ""
	}
	return ", at " + d.Again.UTC().Format(time.TimeOnly) + " UTC at the latest"
}

// zeroed tells whether the canary gets traffic while something goes on.
func (r *Record) zeroed() string {
	if r.Shed.Succeeded() && len(r.Weights) > 0 {
		return ", with the canary's weight at zero"
	}
	return ""
}

// advice says what a person is to do.
func (r *Record) advice() Advice {
	d := r.Decision()
	byHand := fmt.Sprintf("helm history %s -n %s", r.Release, r.Namespace)
	switch r.State() {
	case StateFailed:
		return Advice{"Finish by hand: " + r.failed().Error, cmp.Or(r.goBack(), byHand)}
	case StateNotRecovered:
		return Advice{"Look yourself: the alert is not over although the release is back. The cause may be elsewhere.", byHand}
	case StateHeld:
		return Advice{"Deploy other content, or go back by hand. Until then the canary gets no traffic.", cmp.Or(d.Do, Case{Key: r.Key}.lift())}
	case StateWaiting:
		if d.People {
			return Advice{"Look at it: backout does nothing unless this changes.", cmp.Or(d.Do, byHand)}
		}
		return Advice{Text: "Nothing now: it is decided again by itself" + again(d) + "."}
	case StateActing, StateWatching:
		return Advice{Text: "Nothing now: wait for the outcome."}
	case StateRestored:
		return Advice{"Nothing is urgent. Look whether the canary gets the traffic that it should.", byHand}
	case StateRecovered, StateUnjudged:
		return Advice{Text: fmt.Sprintf("Nothing is urgent. Mend what revision %d runs before it is deployed again: backout will not go back to it.", r.Revision)}
	case StateUntouched:
		if d.People {
			return Advice{"Look at it: backout leaves it alone.", cmp.Or(d.Do, byHand)}
		}
		return Advice{Text: "Nothing."}
	case StateReleased:
		return Advice{Text: "Nothing."}
	default:
		return Advice{Text: "Nothing is known about this state.", Do: d.Do}
	}
}

// goBack is the command that a failed rollback leaves to a person.
func (r *Record) goBack() string {
	if r.Target == 0 || r.Rollback.Succeeded() {
		return ""
	}
	return fmt.Sprintf("helm rollback %s %d -n %s", r.Release, r.Target, r.Namespace)
}

// fact returns a fact with its time.
func (r *Record) fact(at time.Time, name, text string) Fact {
	f := Fact{At: at, Name: name, Text: text}
	if !at.IsZero() {
		f.After = at.Sub(r.receivedAt())
	}
	return f
}

func (r *Record) accused() []Fact {
	var facts []Fact
	for _, a := range r.Accusations {
		if a.By != "" {
			facts = append(facts, r.fact(a.Received, a.Alert, strings.TrimSuffix(a.By+" orders it: "+a.Summary, ": ")))
			continue
		}
		facts = append(facts,
			r.fact(a.StartsAt, cmp.Or(a.Alert, "alert"), strings.TrimSuffix("fires since then: "+a.Summary, ": ")),
			r.fact(a.Received, "", fmt.Sprintf("reaches backout; it asks for %s%s", a.Level, named(a))))
		if a.Description != "" || a.Link != "" {
			facts = append(facts, Fact{Text: cmp.Or(a.Description, "its expression in Prometheus"), Link: a.Link})
		}
		if a.Confirmation != nil {
			text := a.told()
			if since := a.Confirmation.ActiveSince; !since.IsZero() {
				text += ", and that its condition is true since " + clock(since)
			}
			facts = append(facts, Fact{Text: text, Bad: a.answer() == AnswerUnknown})
		}
		if !a.Resolved.IsZero() {
			facts = append(facts, r.fact(a.Resolved, "", "Alertmanager says that it is over"))
		}
	}
	if r.Uncounted > 0 {
		facts = append(facts, Fact{Text: fmt.Sprintf("%d more alerts came, which are not listed", r.Uncounted)})
	}
	return facts
}

// named tells what an alert says about whom it means.
func named(a Accusation) string {
	var parts []string
	if a.Revision != 0 {
		parts = append(parts, fmt.Sprintf("revision %d", a.Revision))
	}
	if a.Version != "" {
		parts = append(parts, "version "+a.Version)
	}
	if len(parts) == 0 {
		return ""
	}
	return ", and names " + strings.Join(parts, " and ")
}

// clock is a time of day, as explanations show it.
func clock(t time.Time) string { return t.UTC().Format("15:04:05.000") }
