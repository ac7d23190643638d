package rollback

import (
	"fmt"
	"time"
)

// Bounds of what grounds keep: older revisions, accusations, and runes of an answer.
const (
	maxCandidates = 20
	maxHeard      = 8
	maxFound      = 200
)

// Grounds are what a decision was taken on, as Decide itself asked and was
// answered. They are kept for people to read; nothing is ever decided by them.
type Grounds struct {
	// At is when the decision was taken.
	At time.Time `json:"at"`
	// Looked are the questions in the order in which they were asked, down to the
	// one that decided.
	Looked []Look `json:"looked,omitempty"`
	// Candidates are the older revisions that were looked at, newest first, down to
	// the target; none if no target was looked for.
	Candidates []Candidate `json:"candidates,omitempty"`
}

// Look is one question of a decision, and what was found.
type Look struct {
	What  string `json:"what"`
	Found string `json:"found"`
}

// Deliberate is Decide, and tells what the decision was taken on.
func Deliberate(c Case) (Decision, Grounds) {
	g := Grounds{At: c.Now}
	c.grounds = &g
	return Decide(c), g
}

// found notes the answer to one question, if anybody wants to know.
func (c Case) found(what, format string, args ...any) {
	if c.grounds != nil {
		c.grounds.Looked = append(c.grounds.Looked, Look{What: what, Found: clip(fmt.Sprintf(format, args...), maxFound)})
	}
}

// target looks for the revision to go back to, and notes what was considered.
func (c Case) target() (Revision, bool) {
	target, candidates, ok := Target(c.History, Condemned(c.Records))
	if c.grounds != nil {
		c.grounds.Candidates = candidates[:min(len(candidates), maxCandidates)]
	}
	return target, ok
}

// blames says why a, which is not refused by anything else, is or is not about
// what the accused revision runs.
func (c Case) blames(a Accusation) string {
	accused := c.History.Accused()
	switch {
	case a.By != "":
		return "ordered by " + a.By
	case a.Revision == accused.Number:
		return fmt.Sprintf("it names revision %d", accused.Number)
	case c.names(a.Version):
		return fmt.Sprintf("it names version %s, which revision %d alone runs", a.Version, accused.Number)
	case c.appeared().IsZero():
		return fmt.Sprintf("nobody knows when what revision %d runs came", accused.Number)
	case c.began(a):
		return fmt.Sprintf("it began %s after what revision %d runs came", brief(a.since().Sub(c.appeared())), accused.Number)
	default:
		return fmt.Sprintf("it began before what revision %d runs came, but goes on %s later; BACKOUT_SETTLE is %s",
			accused.Number, brief(c.Now.Sub(c.appeared())), c.Policy.Settle)
	}
}

// told says what Prometheus answered about a.
func (a Accusation) told() string {
	switch a.answer() {
	case AnswerFiring:
		return "Prometheus says that it fires"
	case AnswerQuiet:
		return "Prometheus says that it does not fire"
	case AnswerUnknown:
		return "Prometheus could not be asked: " + a.Confirmation.Error
	default:
		return "Prometheus was not asked"
	}
}

// brief rounds a duration to what people read: milliseconds below a minute,
// seconds above.
func brief(d time.Duration) time.Duration {
	if d.Abs() < time.Minute {
		return d.Round(time.Millisecond)
	}
	return d.Round(time.Second)
}
