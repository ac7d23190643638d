package traffic

import (
	"fmt"
	"strconv"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// shed gives the canary's weight to the heaviest other backend of its list, so that the sum
// stays the same.
func (w weighted) shed(live *unstructured.Unstructured, c canary) (edit, error) {
	var e edit
	held := heldOn(live)
	for _, s := range w.splits(live, c) {
		weight := w.weight(live, s, s.canaryWeight(), 0)
		if s.canaryWeight() == 0 {
			if was, err := held.restored(s, live.GetGeneration()); err == nil {
				weight.From = strconv.FormatInt(was.canaryWeight(), 10)
			}
			held.note(s, "")
			e.weights = append(e.weights, weight)
			continue
		}
		emptied, err := s.withoutCanary()
		if err != nil {
			return edit{}, fmt.Errorf("%s: %w", s.label, err)
		}
		held.note(s, s.ids()[s.takeover()])
		e.weights = append(e.weights, weight)
		e.operations = append(e.operations, s.operationsTo(emptied)...)
	}
	e.weights = w.nameLeftAlone(live, c, e.weights)
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
	if leads, err := w.leads(object, c); err == nil && leads {
		for _, s := range w.splits(object, c) {
			emptied, err := s.withoutCanary()
			if err != nil || s.canaryWeight() == 0 {
				continue
			}
			s.write(emptied)
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
