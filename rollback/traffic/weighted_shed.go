package traffic

import (
	"fmt"
	"strconv"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// shed gives the canary's weight to another backend of its list, so that the sum stays the
// same. Lists that the plan leaves alone keep theirs.
func (w weighted) shed(live *unstructured.Unstructured, c canary) (edit, error) {
	var e edit
	held := heldOn(live)
	plan := w.plan(live, held, c)
	for _, p := range plan {
		weight := w.weight(live, p.split, p.canaryWeight(), 0)
		switch {
		case p.left != "":
			if _, chosen := c.left[p.label]; chosen {
				held.leave(p.split, p.left)
			}
			continue
		case p.canaryWeight() == 0:
			if was, err := held.restored(p.split, live.GetGeneration()); err == nil {
				weight.From = strconv.FormatInt(was.canaryWeight(), 10)
			}
			held.note(p.split, "")
		case p.takeover < 0:
			return edit{}, fmt.Errorf("%s: %w", p.label, errNoOther)
		default:
			held.note(p.split, p.ids()[p.takeover])
			e.operations = append(e.operations, p.operationsTo(p.withoutCanary(p.takeover))...)
		}
		e.weights = append(e.weights, weight)
	}
	if e.weights = w.nameLeftAlone(live, c, plan, e.weights); len(e.weights) == 0 {
		e.weights = w.leftWeights(live, plan)
	}
	switch e.marks = len(e.operations) == 0; {
	case e.marks && len(e.weights) == 0:
		return e, nil
	case e.marks:
		held.settle(live)
	default:
		held.advance(live)
	}
	note, err := held.operations(live)
	e.operations = append(e.operations, note...)
	return e, err
}

// hold changes the object in place, as shed would change it. A list that cannot be shed
// keeps its declared weights.
func (w weighted) hold(object, live *unstructured.Unstructured, c canary) {
	held := heldWeights{}
	if live != nil {
		held = heldOn(live)
	}
	if leads, err := w.leads(object, c); err == nil && leads {
		for _, p := range w.plan(object, held, c) {
			if p.left != "" || p.takeover < 0 || p.canaryWeight() == 0 {
				continue
			}
			p.write(p.withoutCanary(p.takeover))
		}
	}
	if live != nil {
		w.keepHeld(object, live, c)
	}
}

// keepHeld sets the other canaries to zero that are held on the live object, in the lists
// that have the same backends there.
func (w weighted) keepHeld(object, live *unstructured.Unstructured, c canary) {
	held, now := heldOn(live), make(map[string]split)
	for _, s := range w.all(live, c) {
		now[s.label] = s
	}
	for _, s := range w.all(object, c) {
		if !s.sameBackends(now[s.label]) {
			continue
		}
		if kept, err := held.kept(s, now[s.label]); err == nil {
			s.write(kept)
		}
	}
}
