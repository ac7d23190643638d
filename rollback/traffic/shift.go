package traffic

import (
	"fmt"
	"strconv"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// shed gives the canary's weight to the heaviest other backend of its list, so
// that the sum stays what it was.
func (w weighted) shed(live *unstructured.Unstructured, c canary) (edit, error) {
	var e edit
	held := marksOn(live)
	for _, s := range w.splits(live, c) {
		weight := w.named(live, s, s.canary(), 0)
		if s.canary() == 0 {
			if was, err := held.restored(s, live.GetGeneration()); err == nil {
				weight.From = strconv.FormatInt(was.canary(), 10)
			}
			held.note(s, "") // stored together with that of another list, if at all
			e.weights = append(e.weights, weight)
			continue
		}
		emptied, err := s.emptied()
		if err != nil {
			return edit{}, fmt.Errorf("%s: %w", s.label, err)
		}
		held.note(s, s.ids()[s.heir()])
		e.weights = append(e.weights, weight)
		e.operations = append(e.operations, s.become(emptied)...)
	}
	e.weights = w.beside(live, c, e.weights)
	if len(e.operations) == 0 {
		return e, nil
	}
	held.follow(live)
	note, err := held.operations(live)
	e.operations = append(e.operations, note...)
	return e, err
}

// raise sets the canary's backends of the live lists to the weights that the
// declared object gives them, or else to those that the shed found, and the others
// accordingly. Other canaries that are held on a list stay so.
func (w weighted) raise(live, declared *unstructured.Unstructured, c canary) (edit, error) {
	var e edit
	held, mine, wanted := marksOn(live), names{}, make(map[string]split)
	lists := w.splits(live, c)
	if declared != nil {
		for _, s := range w.splits(declared, c) {
			wanted[s.label] = s
			mine.add(s.canaries())
		}
	}
	for _, s := range lists {
		mine.add(s.canaries())
	}
	for _, s := range lists {
		var target split
		var err error
		if declared == nil {
			target, err = held.found(s, mine, live.GetGeneration())
		} else if target = wanted[s.label]; s.alike(target) {
			target, err = held.kept(target, s)
		} else {
			err = errReplaced
		}
		if err != nil {
			return edit{}, fmt.Errorf("%s: %w", s.label, err)
		}
		e.weights = append(e.weights, w.named(live, s, s.canary(), target.canary()))
		e.operations = append(e.operations, s.become(target)...)
	}
	held.forget(mine, w.all(live, c))
	if len(e.operations) > 0 {
		held.follow(live)
	}
	note, err := held.operations(live)
	e.operations = append(e.operations, note...)
	return e, err
}

// hold changes the object in place, as shed would have it changed. What cannot be
// shed is left as it is declared.
func (w weighted) hold(object *unstructured.Unstructured, c canary) {
	for _, s := range w.splits(object, c) {
		emptied, err := s.emptied()
		if err != nil || s.canary() == 0 {
			continue
		}
		s.write(emptied)
	}
}
