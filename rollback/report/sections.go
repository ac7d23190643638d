package report

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/upcommerce/backout/rollback"
)

// Titles of sections that an explanation and a dry run share.
const (
	titleChecks = "Checks"
	titleTarget = "Rollback target"
)

// alertFacts lists the signals, each with what Prometheus and Alertmanager say.
func alertFacts(r *rollback.Record) []Fact {
	var facts []Fact
	for _, s := range r.Signals {
		if s.Operator != "" {
			facts = append(facts, fact(r, s.Received, s.Alert, "ordered by "+s.Operator+colon(s.Summary)))
			continue
		}
		facts = append(facts,
			fact(r, s.StartsAt, cmp.Or(s.Alert, "alert"), "starts to fire"+colon(s.Summary)),
			fact(r, s.Received, "", fmt.Sprintf("backout receives it; it asks for %s%s", s.Level, namedRevision(s))))
		if s.Description != "" || s.Link != "" {
			facts = append(facts, Fact{Text: cmp.Or(s.Description, "its expression in "+s.Evaluator()), Link: s.Link})
		}
		if s.Confirmation != nil {
			text := s.EvaluatorSays()
			if since := s.Confirmation.ActiveSince; !since.IsZero() {
				text += ", and that its condition has been true since " + clock(since)
			}
			facts = append(facts, Fact{Text: text, Bad: s.Answer() == rollback.AnswerUnknown || s.Answer() == rollback.AnswerUnproven})
		}
		if s.Confirm == rollback.ConfirmByNone {
			facts = append(facts, Fact{Text: s.EvaluatorSays()})
		}
		if !s.Resolved.IsZero() {
			facts = append(facts, fact(r, s.Resolved, "", resolver(s)+" says that it is over"))
		}
	}
	if len(r.Ignored) > 0 {
		facts = append(facts, Fact{Text: "backout has not signed, and ignores: " + strings.Join(r.Ignored, "; ") +
			". Another client has changed the record, or the key is gone", Bad: true})
	}
	if r.DroppedSignals > 0 {
		facts = append(facts, Fact{Text: fmt.Sprintf("%d more signals came; the record does not list them", r.DroppedSignals)})
	}
	return facts
}

// resolver names the one that reports the end of an alert.
func resolver(s rollback.Signal) string {
	if s.Confirm == rollback.ConfirmByGrafana {
		return s.Evaluator()
	}
	return "Alertmanager"
}

// namedRevision says which revision or version the alert names.
func namedRevision(s rollback.Signal) string {
	var parts []string
	if s.Revision != 0 {
		parts = append(parts, fmt.Sprintf("revision %d", s.Revision))
	}
	if s.Version != "" {
		parts = append(parts, "version "+s.Version)
	}
	if len(parts) == 0 {
		return ""
	}
	return " and names " + strings.Join(parts, " and ")
}

// checkFacts lists the checks of the newest decision.
func checkFacts(r *rollback.Record) []Fact {
	if r.Trace == nil {
		return nil
	}
	var facts []Fact
	for _, c := range r.Trace.Checks {
		facts = append(facts, Fact{Name: c.Name, Text: c.Result})
	}
	return facts
}

// candidateFacts lists the revisions that were considered as the target.
func candidateFacts(r *rollback.Record) []Fact {
	if r.Trace == nil {
		return nil
	}
	var facts []Fact
	for _, c := range r.Trace.Candidates {
		f := Fact{Name: fmt.Sprintf("revision %d", c.Revision), Text: "no: " + c.Reason, Bad: c.Reason != ""}
		if c.Reason == "" {
			f.Text, f.Good = "yes: the newest good revision with different content", true
			if c.Zero {
				f.Text = fmt.Sprintf("yes: no other one qualifies; its canary, which runs the pods of revision %d, stays at zero", r.Revision)
			}
		}
		if !c.Deployed.IsZero() {
			f.Text += fmt.Sprintf(" (%s, deployed %s)", c.Status, c.Deployed.UTC().Format(time.DateTime))
		}
		facts = append(facts, f)
	}
	return facts
}

// decisionFacts lists the decisions; each differs from the one before.
func decisionFacts(r *rollback.Record) []Fact {
	var facts []Fact
	for _, d := range r.Decisions {
		facts = append(facts, fact(r, d.At, string(d.Verdict), d.Reason+d.Effects()))
	}
	return facts
}

// stepFacts lists the steps with their results and durations, the hold, and the end of
// the record, in order of time.
func stepFacts(r *rollback.Record) []Fact {
	var facts []Fact
	add := func(name string, s *rollback.Step, result string) {
		if s != nil {
			facts = append(facts, stepFact(r, namedStep{name, s}, result))
		}
	}
	add("preflight", r.Preflight, preflightText(r))
	add("weight to zero", r.Shed, rollback.FormatWeights(r.Weights))
	add("rollback", r.Rollback, rollbackText(r))
	if r.HoldsTarget() {
		add("pods ready", r.Restore, "the canary does not get its weight back")
	} else {
		add("weight restored", r.Restore, "the pods are ready, and the canary has the weight that its revision declares")
	}
	add("verification", r.Verify, string(r.Outcome))
	if r.Hold != nil {
		facts = append(facts, fact(r, r.Hold.Since, "held", "from now on the weight stays zero"))
		if !r.Hold.Ended.IsZero() {
			facts = append(facts, fact(r, r.Hold.Ended, "hold ended", r.Hold.Reason))
		}
	}
	if m := r.Manual; m != nil {
		facts = append(facts, fact(r, m.Started, "manual rollback", fmt.Sprintf("%s began a rollback to revision %d", operatorOf(m), m.Target)))
		if !m.Ended.IsZero() {
			facts = append(facts, fact(r, m.Ended, "manual rollback", m.Note))
		}
	}
	if !r.Closed.IsZero() {
		facts = append(facts, fact(r, r.Closed, "closed", "backout does nothing more"))
	}
	slices.SortStableFunc(facts, func(a, b Fact) int { return a.At.Compare(b.At) })
	return facts
}

// rollbackText is the result of a rollback that is done.
func rollbackText(r *rollback.Record) string {
	text := fmt.Sprintf("Helm made revision %d from revision %d", r.Made, r.Target)
	if differences := differencesText(r); differences != "" {
		text += "; " + differences
	}
	return text
}

// differencesText says how the live objects differ from the target; "" if they do not.
func differencesText(r *rollback.Record) string {
	if len(r.Differences) == 0 {
		return ""
	}
	return "the live objects are not all as that revision declares them: " + strings.Join(r.Differences, "; ")
}

// preflightText is the result of a preflight that is done.
func preflightText(r *rollback.Record) string {
	text := fmt.Sprintf("no danger found in a rollback to revision %d", r.PreflightTarget)
	if len(r.Dangers) > 0 {
		dangers := make([]string, 0, len(r.Dangers))
		for _, d := range r.Dangers {
			dangers = append(dangers, d.What)
		}
		text = fmt.Sprintf("dangers of a rollback to revision %d: %s", r.PreflightTarget, strings.Join(dangers, "; "))
	}
	if r.Owner.Tool != "" {
		text += "; " + r.Owner.Describe()
	}
	if len(r.Differences) > 0 && r.Rollback == nil {
		text += "; after the rollback: " + strings.Join(r.Differences, "; ")
	}
	return text
}

// stepFact is one step: its result, or the reason why it is not done.
func stepFact(r *rollback.Record, s namedStep, result string) Fact {
	f := fact(r, s.Started, s.name, "in progress")
	switch {
	case s.Failed:
		f.Text, f.Bad = "failed: "+s.Error, true
	case !s.Done.IsZero():
		f = fact(r, s.Done, s.name, result)
		f.Good = true
	case s.Error != "":
		f.Text, f.Bad = "not done yet: "+s.Error, true
	}
	if s.Note != "" {
		f.Text = strings.TrimPrefix(f.Text+"; "+s.Note, "; ")
	}
	if took := s.Done.Sub(s.Started); !s.Done.IsZero() && took >= time.Millisecond {
		f.Text += fmt.Sprintf(" (took %s)", rollback.Round(took))
	}
	if s.Attempts > 1 {
		f.Text += fmt.Sprintf(" (%d attempts)", s.Attempts)
	}
	return f
}

// notificationFacts lists the channels that have sent something, with the time of the
// last delivery.
func notificationFacts(r *rollback.Record) []Fact {
	var facts []Fact
	for _, channel := range slices.Sorted(maps.Keys(r.Notified)) {
		n := r.Notified[channel]
		text := fmt.Sprintf("%d entries sent, the last one at this time", len(n.Entries))
		if len(n.Entries) == 1 {
			text = "1 entry sent"
		}
		facts = append(facts, fact(r, n.At, channel, text))
	}
	return facts
}

// fact returns a fact with its time.
func fact(r *rollback.Record, at time.Time, name, text string) Fact {
	f := Fact{At: at, Name: name, Text: text}
	if !at.IsZero() {
		f.After = at.Sub(receivedAt(r))
	}
	return f
}
