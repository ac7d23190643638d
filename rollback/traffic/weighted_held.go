package traffic

import (
	"cmp"
	"encoding/json"
	"errors"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/sets"
)

// Reasons why the held weights do not say what the weights were before the shed.
var (
	errNotHeld  = errors.New("no shed has noted its weights")
	errReplaced = errors.New("another client changed the route, which has other backends now: set the weights manually")
	errEdited   = errors.New("another client changed the route after the shed, and may intend the zero: set the weights manually, " +
		"and remove the annotation " + heldAnnotation)
)

// heldWeights are what sheds have noted on an object with lists of backends: by the list's
// label and the id of the canary's backend. A list may have several canaries that are held,
// each for its own release.
type heldWeights map[string]map[string]heldWeight

// heldWeight is what a shed found of one backend.
type heldWeight struct {
	// Weight is what the backend had, and Takeover the id of the backend that took it over;
	// "" if it had none.
	Weight   int64  `json:"weight"`
	Takeover string `json:"takeover,omitempty"`
	// Kept says that the takeover backend has kept its own weight: with the canary's it would
	// have more than the router accepts.
	Kept bool `json:"kept,omitempty"`
	// Left says why a shed has left the weight as it is; "" if it has set it to zero.
	Left string `json:"left,omitempty"`
	// Generation is the object's after the shed. If the object has another one, the zero may
	// be another client's. It is 0 for an object without a generation.
	Generation int64 `json:"generation,omitempty"`
}

// UnmarshalJSON accepts a second name for the field takeover, which stored annotations may
// have.
func (h *heldWeight) UnmarshalJSON(text []byte) error {
	type plain heldWeight
	var noted struct {
		plain
		Alias string `json:"heir"` // words:api heir
	}
	if err := json.Unmarshal(text, &noted); err != nil {
		return err
	}
	*h = heldWeight(noted.plain)
	h.Takeover = cmp.Or(h.Takeover, noted.Alias)
	return nil
}

// heldOn returns the held weights of an object. Text that cannot be read counts as absent.
func heldOn(live *unstructured.Unstructured) heldWeights {
	var h heldWeights
	if json.Unmarshal([]byte(live.GetAnnotations()[heldAnnotation]), &h) != nil || h == nil {
		return heldWeights{}
	}
	return h
}

// note adds the canary's backends of a list as they are, with the backend that takes over
// their weight. If that is "", it keeps what is noted already.
func (h heldWeights) note(s split, takeover string) {
	if h[s.label] == nil {
		h[s.label] = make(map[string]heldWeight)
	}
	ids := s.ids()
	at := slices.Index(ids, takeover)
	kept := at >= 0 && !s.gains(at, s.canaryWeight())
	for i, id := range ids {
		was, known := h[s.label][id]
		known = known && was.Left == ""
		if b := s.backends[i]; b.canary && (takeover != "" || !known) {
			h[s.label][id] = heldWeight{Weight: b.weight, Takeover: takeover, Kept: kept}
		}
	}
}

// forget removes those backends, and all others of the lists whose weight is no longer zero.
func (h heldWeights) forget(ids sets.Set[string], lists []split) {
	for _, s := range lists {
		for i, id := range s.ids() {
			if s.backends[i].weight != 0 {
				delete(h[s.label], id)
			}
		}
	}
	for label := range h {
		for id := range ids {
			delete(h[label], id)
		}
		if len(h[label]) == 0 {
			delete(h, label)
		}
	}
}

// advance moves the generations to the one that the object gets by a write: those that were
// right before it, and the new ones.
func (h heldWeights) advance(live *unstructured.Unstructured) {
	before := live.GetGeneration()
	if before == 0 {
		return
	}
	for _, list := range h {
		for id, n := range list {
			if n.Generation == before || n.Generation == 0 {
				n.Generation = before + 1
				list[id] = n
			}
		}
	}
}

// settle gives new held weights the generation of an object whose spec does not change.
func (h heldWeights) settle(live *unstructured.Unstructured) {
	for _, list := range h {
		for id, n := range list {
			if n.Generation == 0 {
				n.Generation = live.GetGeneration()
				list[id] = n
			}
		}
	}
}

// operations returns the operations that store the held weights on the object; none if it
// has them already.
func (h heldWeights) operations(live *unstructured.Unstructured) ([]operation, error) {
	if len(h) == 0 {
		return unannotate(live, heldAnnotation), nil
	}
	text, err := json.Marshal(h)
	if err != nil || string(text) == live.GetAnnotations()[heldAnnotation] {
		return nil, err
	}
	return annotate(live, heldAnnotation, string(text)), nil
}

// restored returns the list as the shed of its canary found it: the canary's backends get
// their weights back from the backends that took them over. It returns errNotHeld,
// errReplaced or errEdited if the held weights do not say it.
func (h heldWeights) restored(s split, generation int64) (split, error) {
	r := split{label: s.label, backends: slices.Clone(s.backends), max: s.max}
	ids := s.ids()
	for i, id := range ids {
		if !s.backends[i].canary {
			continue
		}
		was, ok := h[s.label][id]
		if !ok {
			return split{}, errNotHeld
		}
		if was.Left != "" {
			continue
		}
		if was.Generation != 0 && was.Generation != generation {
			return split{}, errEdited
		}
		if was.Weight == 0 {
			continue
		}
		takeover := slices.Index(ids, was.Takeover)
		if takeover < 0 || !was.Kept && r.backends[takeover].weight < was.Weight {
			return split{}, errReplaced
		}
		if !was.Kept {
			r.backends[takeover].weight -= was.Weight
		}
		r.backends[i].weight = was.Weight
	}
	return r, nil
}

// beforeShed returns the list as the shed found it; as it is, if it was never shed or an
// operator has given the canary a weight since.
func (h heldWeights) beforeShed(s split, ids sets.Set[string], generation int64) (split, error) {
	if s.canaryWeight() != 0 {
		return s, nil
	}
	r, err := h.restored(s, generation)
	if errors.Is(err, errNotHeld) {
		if h.holdAny(ids) {
			return split{}, errReplaced
		}
		return s, nil
	}
	return r, err
}

// holdAny reports whether one of those backends is held on any list.
func (h heldWeights) holdAny(ids sets.Set[string]) bool {
	for _, list := range h {
		for id := range list {
			if ids.Has(id) {
				return true
			}
		}
	}
	return false
}

// kept returns the wanted weights of a list with zero for the other canaries that are held
// on it: the backends that took over their weights keep them. It returns errNoOther if no
// such backend is left. live is the list as it is.
func (h heldWeights) kept(wanted, live split) (split, error) {
	k := split{label: wanted.label, backends: slices.Clone(wanted.backends), max: wanted.max}
	ids := wanted.ids()
	held := func(i int) bool {
		_, noted := h[wanted.label][ids[i]]
		return noted && !wanted.backends[i].canary && live.backends[i].weight == 0
	}
	for i, id := range ids {
		if !held(i) || k.backends[i].weight == 0 {
			continue
		}
		takeover := slices.Index(ids, h[wanted.label][id].Takeover)
		if takeover < 0 || held(takeover) {
			takeover = k.heaviest(func(j int) bool { return held(j) || k.backends[j].canary })
		}
		if takeover < 0 {
			return split{}, errNoOther
		}
		if k.gains(takeover, k.backends[i].weight) {
			k.backends[takeover].weight += k.backends[i].weight
		}
		k.backends[i].weight = 0
	}
	return k, nil
}
