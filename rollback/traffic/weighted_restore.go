package traffic

import (
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/sets"
)

// restore sets the canary's backends of the live lists to the weights of the declared
// object, or else to those that the shed found, and the others accordingly. Other canaries
// that are held on a list stay at zero.
func (w weighted) restore(live, declared *unstructured.Unstructured, c canary) (edit, error) {
	var e edit
	held, own, wanted := heldOn(live), sets.New[string](), make(map[string]split)
	lists := w.splits(live, c)
	if declared != nil {
		for _, s := range w.splits(declared, c) {
			wanted[s.label] = s
			own.Insert(s.canaryIDs()...)
		}
	}
	for _, s := range lists {
		own.Insert(s.canaryIDs()...)
	}
	for _, s := range lists {
		var target split
		var err error
		if declared == nil {
			target, err = held.beforeShed(s, own, live.GetGeneration())
		} else if target = wanted[s.label]; s.sameBackends(target) {
			target, err = held.kept(target, s)
		} else {
			err = errReplaced
		}
		if err != nil {
			return edit{}, fmt.Errorf("%s: %w", s.label, err)
		}
		e.weights = append(e.weights, w.weight(live, s, s.canaryWeight(), target.canaryWeight()))
		e.operations = append(e.operations, s.operationsTo(target)...)
	}
	held.forget(own, w.all(live, c))
	if len(e.operations) > 0 {
		held.advance(live)
	}
	note, err := held.operations(live)
	e.operations = append(e.operations, note...)
	return e, err
}

func (w weighted) unmark(live *unstructured.Unstructured, c canary) ([]operation, error) {
	held := heldOn(live)
	held.forget(nil, w.all(live, c))
	return held.operations(live)
}
