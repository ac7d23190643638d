package rollback

import "slices"

// Reductions is how often a record can be reduced.
const Reductions = 3

// maxReducedText bounds the texts of a record that was reduced as far as possible, in runes.
const maxReducedText = 100

// Reduced returns a copy of the record with less text, for a record that has too much of it
// to be stored. From 1, each reduction leaves out more: the descriptions and links of the
// signals; the trace; the ends of long texts. No decision depends on any of them.
func (r *Record) Reduced(reduction int) Record {
	c := r.Printable() // a deep copy
	switch reduction {
	case 1:
		for i := range c.Signals {
			c.Signals[i].Description, c.Signals[i].Link = "", ""
		}
	case 2:
		c.Trace = nil
	default:
		c.shortenTexts()
	}
	return c
}

// shortenTexts shortens the sentences of the record, and no name. The reason of the decision
// in force stays: a new decision is compared with it.
func (r *Record) shortenTexts() {
	short := func(texts ...*string) {
		for _, text := range texts {
			*text = Clip(*text, maxReducedText)
		}
	}
	for i := range r.Signals {
		s := &r.Signals[i]
		short(&s.Summary)
		if s.Confirmation != nil {
			short(&s.Confirmation.Error)
		}
	}
	for i := range r.Decisions[:max(0, len(r.Decisions)-1)] {
		short(&r.Decisions[i].Reason)
	}
	for i := range r.Dangers {
		short(&r.Dangers[i].What)
	}
	for _, s := range slices.DeleteFunc([]*Step{r.Preflight, r.Shed, r.Rollback, r.Restore, r.Verify}, func(s *Step) bool { return s == nil }) {
		short(&s.Error, &s.Note)
	}
}
