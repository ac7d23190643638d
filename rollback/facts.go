package rollback

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// looked tells what the decision was taken on.
func (r *Record) looked() []Fact {
	if r.Grounds == nil {
		return nil
	}
	var facts []Fact
	for _, l := range r.Grounds.Looked {
		facts = append(facts, Fact{Name: l.What, Text: l.Found})
	}
	return facts
}

// considered tells the search for the target, revision by revision.
func (r *Record) considered() []Fact {
	if r.Grounds == nil {
		return nil
	}
	var facts []Fact
	for _, c := range r.Grounds.Candidates {
		f := Fact{Name: fmt.Sprintf("revision %d", c.Revision), Text: "no: " + c.Why, Bad: c.Why != ""}
		if c.Why == "" {
			f.Text, f.Good = "yes: the newest one that was good and runs something else", true
		}
		if !c.Deployed.IsZero() {
			f.Text += fmt.Sprintf(" (%s, of %s)", c.Status, c.Deployed.UTC().Format("2006-01-02 15:04:05"))
		}
		facts = append(facts, f)
	}
	return facts
}

// decided tells every change of mind.
func (r *Record) decided() []Fact {
	var facts []Fact
	for _, d := range r.Decisions {
		facts = append(facts, r.fact(d.At, string(d.Verdict), d.Reason+d.effects()))
	}
	return facts
}

// effects tells what a decision wants done.
func (d Decision) effects() string {
	var parts []string
	if d.Shed {
		parts = append(parts, "weight to zero")
	}
	if d.Rollback {
		parts = append(parts, fmt.Sprintf("roll back to revision %d", d.Target))
	}
	if d.Hold {
		parts = append(parts, "hold it there")
	}
	if d.Waits {
		parts = append(parts, "decide again")
	}
	if d.People {
		parts = append(parts, "call people")
	}
	if len(parts) == 0 {
		parts = append(parts, "do nothing")
	}
	return ". So: " + strings.Join(parts, ", ")
}

// done tells every step, with what it took.
func (r *Record) done() []Fact {
	var facts []Fact
	add := func(name string, s *Step, did string) {
		if s != nil {
			facts = append(facts, r.step(name, s, did))
		}
	}
	add("look ahead", r.Check, r.ahead())
	shed := make([]string, 0, len(r.Weights))
	for _, w := range r.Weights {
		shed = append(shed, w.String())
	}
	add("weight to zero", r.Shed, strings.Join(shed, ", "))
	add("rollback", r.Rollback, fmt.Sprintf("Helm made revision %d, which runs what revision %d ran", r.Made, r.Target))
	add("weight raised", r.Raise, "the pods are ready, and the canary has the weight that its revision declares")
	add("judged", r.Verify, string(r.Outcome))
	if r.Hold != nil {
		facts = append(facts, r.fact(r.Hold.Since, "held", "from then on the weight stays zero"))
		if !r.Hold.Ended.IsZero() {
			facts = append(facts, r.fact(r.Hold.Ended, "hold over", r.Hold.Why))
		}
	}
	if !r.Closed.IsZero() {
		facts = append(facts, r.fact(r.Closed, "closed", "nothing is left to do"))
	}
	slices.SortStableFunc(facts, func(a, b Fact) int { return a.At.Compare(b.At) })
	return facts
}

// audience tells which channels told people, and when last.
func (r *Record) audience() []Fact {
	var facts []Fact
	for _, channel := range slices.Sorted(maps.Keys(r.Told)) {
		t := r.Told[channel]
		facts = append(facts, r.fact(t.At, channel, fmt.Sprintf("of %d things, the last time then", len(t.Lines))))
	}
	return facts
}

// ahead tells what the look ahead found.
func (r *Record) ahead() string {
	text := "nothing dangerous about going back to revision " + fmt.Sprint(r.Checked)
	if len(r.Dangers) > 0 {
		dangers := make([]string, 0, len(r.Dangers))
		for _, d := range r.Dangers {
			dangers = append(dangers, d.What)
		}
		text = fmt.Sprintf("dangers of going back to revision %d: %s", r.Checked, strings.Join(dangers, "; "))
	}
	if r.Owner.Tool != "" {
		text += "; " + r.Owner.name()
	}
	return text
}

// step tells one step: what it did, or what keeps it from being done.
func (r *Record) step(name string, s *Step, did string) Fact {
	f := r.fact(s.Started, name, "being done")
	switch {
	case s.Failed:
		f.Text, f.Bad = "failed: "+s.Error, true
	case !s.Done.IsZero():
		f = r.fact(s.Done, name, did)
		f.Good = true
	case s.Error != "":
		f.Text, f.Bad = "not yet: "+s.Error, true
	}
	if s.Note != "" {
		f.Text = strings.TrimPrefix(f.Text+"; "+s.Note, "; ")
	}
	if took := s.Done.Sub(s.Started); !s.Done.IsZero() && took >= time.Millisecond {
		f.Text += fmt.Sprintf(" (took %s)", brief(took))
	}
	if s.Attempts > 1 {
		f.Text += fmt.Sprintf(" (%d attempts)", s.Attempts)
	}
	return f
}

// String is the explanation for a terminal.
func (e Explanation) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, accused at %s UTC: %s\n%s\n\nWhat to do: %s\n",
		e.Title, e.Accused.UTC().Format(time.DateTime), e.State, e.Headline, e.Advice.Text)
	if e.Advice.Do != "" {
		fmt.Fprintf(&b, "    %s\n", e.Advice.Do)
	}
	for _, s := range e.Sections {
		s.write(&b)
	}
	return b.String()
}

// write tells the section in columns; one without facts is left out.
func (s Section) write(b *strings.Builder) {
	if len(s.Facts) == 0 {
		return
	}
	fmt.Fprintf(b, "\n%s\n", s.Title)
	names, stamps := 0, 0
	for _, f := range s.Facts {
		names, stamps = max(names, len(f.Name)), max(stamps, len(f.stamp()))
	}
	for _, f := range s.Facts {
		fmt.Fprintf(b, "  %-*s%-*s  %s\n", stamps, f.stamp(), names, f.Name, strings.TrimSuffix(f.Text+" <"+f.Link+">", " <>"))
	}
}

// stamp is the fact's time in a column of its own; "" in a fact without one.
func (f Fact) stamp() string {
	if f.At.IsZero() {
		return ""
	}
	return fmt.Sprintf("%s %10s  ", clock(f.At), f.Since())
}

// Since is the time after the receipt of the first alert, such as "+0.070s".
func (f Fact) Since() string {
	if f.At.IsZero() {
		return ""
	}
	if f.After.Abs() >= 10*time.Minute {
		sign := "+"
		if f.After < 0 {
			sign = ""
		}
		return sign + f.After.Round(time.Second).String()
	}
	return fmt.Sprintf("%+.3fs", f.After.Seconds())
}
