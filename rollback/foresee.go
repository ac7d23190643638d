package rollback

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Forecast is what the engine would do about one alert now.
type Forecast struct {
	// Record is how the accused revision's record would look after the decision; it
	// is stored nowhere. Where there would be none, its decision says why.
	Record Record `json:"record"`
	// Routing is the canary's live traffic; nil if it was not looked at.
	Routing *Routing `json:"-"`
	// Assumed are what the forecast took for granted, for want of a better
	// knowledge.
	Assumed []string `json:"assumed,omitempty"`
}

// Foresee tells what Accept and the steps after it would do about the alerts of
// one webhook, and does nothing: it reads the same, asks the same, looks ahead in
// the same way and decides with the same Decide. There is one forecast for each
// release, and one for each alert that would be refused. Until the alerts really
// come the cluster may change.
func (e *Engine) Foresee(ctx context.Context, alerts []Alert) ([]Forecast, error) {
	now := time.Now().UTC()
	var all []Forecast
	var keys []Key
	accused := make(map[Key][]Accusation)
	for _, alert := range alerts {
		k, acc, err := alert.Read(now)
		if _, why := e.policy.refuses(alert, k, err); why != "" {
			all = append(all, refused(k, NotAllowed, why))
			continue
		}
		if len(accused[k]) == 0 {
			keys = append(keys, k)
		}
		accused[k] = append(accused[k], acc)
	}
	var known []heard
	for _, k := range keys {
		seen, err := e.look(ctx, k, e.ledger.Records)
		switch {
		case errors.Is(err, ErrUnknownRelease):
			all = append(all, refused(k, UnknownRelease, err.Error()))
			continue
		case err != nil:
			return all, err
		}
		seen.accs = accused[k]
		e.count(seen)
		known = append(known, seen)
	}
	for _, seen := range known {
		f, err := e.foresee(ctx, seen, now)
		if err != nil {
			return all, err
		}
		all = append(all, f)
	}
	return all, nil
}

// refused is the forecast of what leads to no record.
func refused(k Key, v Verdict, why string) Forecast {
	f := Forecast{Record: Record{Key: k}}
	f.Record.Decide(Decision{Verdict: v, Reason: why})
	return f
}

// foresee is Foresee for one release.
func (e *Engine) foresee(ctx context.Context, h heard, now time.Time) (Forecast, error) {
	accused := h.history.Accused()
	r, known := find(h.records, accused.UID)
	if !known {
		r = fresh(h.key, accused, h.records, now)
	}
	r = r.clone()
	for _, acc := range h.accs {
		r.Accuse(acc)
	}
	if r.Rollback != nil {
		return refused(h.key, Handled, fmt.Sprintf("revision %d is being rolled back, or was, already", r.Revision)), nil
	}
	c := Case{Key: h.key, History: h.history, Records: h.records, Paused: h.paused, Policy: e.policy, Now: now}
	c.Storm = e.storms.besides(h.key, e.policy, now)
	return e.conclude(ctx, Forecast{Record: r}, c)
}

// conclude asks Prometheus, looks at the live route and ahead, and decides.
func (e *Engine) conclude(ctx context.Context, f Forecast, c Case) (Forecast, error) {
	r := &f.Record
	if e.prometheus == nil {
		f.Assumed = append(f.Assumed, "that the alert fires: Prometheus was not asked")
	} else {
		r.confirm(e.askWithin(ctx, askLong, *r, c.with(*r)))
	}
	c.Routing = e.routing(ctx, *r, c.with(*r), e.traffic.Look)
	f.Routing = c.Routing
	d, grounds := Deliberate(c.with(*r))
	if d.Rollback {
		r.Decide(d)
		p, err := e.plan(ctx, *r, c.History)
		if err != nil {
			return f, err
		}
		outlook, err := e.releases.Check(ctx, p)
		if err != nil {
			return f, fmt.Errorf("look ahead at going back to revision %d: %w", p.Target, err)
		}
		r.Checked, r.Dangers, r.Owner = p.Target, outlook.Dangers, outlook.Owner
		d, grounds = Deliberate(c.with(*r))
	}
	r.Decide(d)
	r.Grounds = &grounds
	return f, nil
}

// String is the forecast for a terminal.
func (f Forecast) String() string {
	var b strings.Builder
	r, d := f.Record, f.Record.Decision()
	about := "the alert"
	if r.Release != "" {
		about = r.Key.String()
	}
	if r.Revision != 0 {
		about = fmt.Sprintf("revision %d of %s", r.Revision, r.Key)
	}
	fmt.Fprintf(&b, "%s: %s\n%s\n\nNow backout would\n", about, d.Verdict, d.Reason)
	for i, line := range f.plan() {
		fmt.Fprintf(&b, "  %d. %s\n", i+1, line)
	}
	sections := []Section{
		{"What was looked at", r.looked()},
		{"Which revision to go back to", r.considered()},
	}
	for _, s := range sections {
		s.write(&b)
	}
	if len(f.Assumed) > 0 {
		fmt.Fprintf(&b, "\nAssumed\n  %s\n", strings.Join(f.Assumed, "\n  "))
	}
	return b.String()
}

// plan tells what would be done, in order.
func (f Forecast) plan() []string {
	d := f.Record.Decision()
	var lines []string
	if d.Shed {
		lines = append(lines, "set the canary's weight to zero"+f.weights())
	}
	if d.Rollback {
		lines = append(lines,
			fmt.Sprintf("have Helm go back to revision %d", d.Target),
			"raise the weight to what that revision declares, once its pods are ready",
			"ask whether it helped")
	}
	if d.Hold {
		lines = append(lines, "hold it there until other content is deployed, or a person lifts it")
	}
	if d.Waits {
		again := "as soon as the cluster has changed"
		if !d.Again.IsZero() {
			again = "at " + d.Again.UTC().Format(time.RFC3339) + " at the latest"
		}
		lines = append(lines, "decide again, "+again)
	}
	if d.People {
		lines = append(lines, strings.TrimSuffix("call people; by hand: "+d.Do, "; by hand: "))
	}
	if len(lines) == 0 {
		lines = append(lines, "do nothing")
	}
	return lines
}

// weights tells what a shed would write.
func (f Forecast) weights() string {
	if f.Record.Shed.tried() {
		return ", where it is already"
	}
	if f.Routing == nil {
		return " (no route to a canary was found that could be read)"
	}
	var parts []string
	for _, w := range f.Routing.Weights {
		w.To = "0"
		parts = append(parts, w.String())
	}
	return ": " + strings.Join(parts, ", ")
}
