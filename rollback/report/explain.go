package report

import (
	"fmt"
	"time"

	"github.com/upcommerce/backout/rollback"
)

// Explanation describes a record for a reader who knows nothing about it: what
// happened, what to do, what was decided and why. Terminal and status page show the
// same.
type Explanation struct {
	// Title names the release and its revision.
	Title string
	// Received is when backout received the first signal.
	Received time.Time
	State    State
	// Headline says what happened in one sentence.
	Headline string
	Advice   Advice
	Sections []Section
}

// Section is one part of an explanation.
type Section struct {
	Title string
	Facts []Fact
}

// Fact is one line of a section.
type Fact struct {
	// At is when it happened, zero if that does not matter. After is the time since
	// the receipt of the first signal.
	At    time.Time
	After time.Duration
	// Name is the subject of the fact, Text the rest.
	Name, Text string
	// Bad marks a failure, a danger or a missing answer, Good a step that is done and
	// the revision that was chosen; most facts are neither. The text says it too.
	Bad, Good bool
	// Link is an http or https address with more about the fact; it may be "".
	Link string
}

// Explain explains the record. It is pure, and needs nothing but the record.
func Explain(r rollback.Record) Explanation {
	r = r.Printable()
	e := Explanation{
		Title: fmt.Sprintf("revision %d of %s", r.Revision, r.Key), Received: receivedAt(&r), State: StateOf(&r),
		Headline: headline(&r), Advice: advice(&r),
	}
	for _, s := range []Section{
		{Title: "Alerts", Facts: alertFacts(&r)},
		{Title: titleChecks, Facts: checkFacts(&r)},
		{Title: titleTarget, Facts: candidateFacts(&r)},
		{Title: "Decisions", Facts: decisionFacts(&r)},
		{Title: "Steps", Facts: stepFacts(&r)},
		{Title: "Notifications", Facts: notificationFacts(&r)},
	} {
		if len(s.Facts) > 0 {
			e.Sections = append(e.Sections, s)
		}
	}
	return e
}
