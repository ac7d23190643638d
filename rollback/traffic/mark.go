package traffic

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Reasons why a mark does not say what the weights were.
var (
	errNoMark    = errors.New("nobody has noted its weights")
	errReplaced  = errors.New("it has other backends than it had: somebody changed the route; set the weights by hand")
	errRewritten = errors.New("somebody changed the route since the canary was taken out, and may mean the zero; set the weights by hand, " +
		"and take away the annotation " + heldAnnotation)
)

// marks are what sheds have noted on an object with lists of backends: by the
// list's label and the canary's backend. Several canaries may be held on one list,
// each for a release of its own.
type marks map[string]map[string]mark

// mark is what a shed found of one backend.
type mark struct {
	// Weight is what it had, and Heir the backend that got it; "" if it had none.
	Weight int64  `json:"weight"`
	Heir   string `json:"heir,omitempty"`
	// Generation is the object's after the shed. With another one, the zero may not
	// be the shed's any more. It is 0 where the object has none.
	Generation int64 `json:"generation,omitempty"`
}

// marksOn returns the marks of an object. Text that cannot be read is as good as
// none.
func marksOn(live *unstructured.Unstructured) marks {
	var m marks
	if json.Unmarshal([]byte(live.GetAnnotations()[heldAnnotation]), &m) != nil || m == nil {
		return marks{}
	}
	return m
}

// ids returns what a mark calls the backends: by their names, and by a number where
// one is there again, on another port.
func (s split) ids() []string {
	var ids []string
	seen := make(map[string]int)
	for _, b := range s.backends {
		seen[b.name]++
		id := b.name
		if n := seen[b.name]; n > 1 {
			id = fmt.Sprintf("%s#%d", b.name, n)
		}
		ids = append(ids, id)
	}
	return ids
}

// canaries returns those ids that are the canary's.
func (s split) canaries() []string {
	var mine []string
	for i, id := range s.ids() {
		if s.backends[i].canary {
			mine = append(mine, id)
		}
	}
	return mine
}

// note marks the canary's backends of a list as they are, with who inherits their
// weight. Without an heir there is none, and what is marked already stays so.
func (m marks) note(s split, heir string) {
	if m[s.label] == nil {
		m[s.label] = make(map[string]mark)
	}
	for i, id := range s.ids() {
		_, known := m[s.label][id]
		if b := s.backends[i]; b.canary && (heir != "" || !known) {
			m[s.label][id] = mark{Weight: b.weight, Heir: heir}
		}
	}
}

// forget takes away the marks of those backends, and those of others whose zero
// somebody has raised.
func (m marks) forget(mine names, lists []split) {
	for _, s := range lists {
		for i, id := range s.ids() {
			if s.backends[i].weight != 0 {
				delete(m[s.label], id)
			}
		}
	}
	for label := range m {
		for id := range mine {
			delete(m[label], id)
		}
		if len(m[label]) == 0 {
			delete(m, label)
		}
	}
}

// follow brings the marks to the generation that an object gets by a write: those
// that were right before it, and the new ones.
func (m marks) follow(live *unstructured.Unstructured) {
	was := live.GetGeneration()
	if was == 0 {
		return
	}
	for _, list := range m {
		for id, n := range list {
			if n.Generation == was || n.Generation == 0 {
				n.Generation = was + 1
				list[id] = n
			}
		}
	}
}

// operations returns what leaves the marks on the object; nothing if they are there.
func (m marks) operations(live *unstructured.Unstructured) ([]operation, error) {
	if len(m) == 0 {
		return unannotate(live, heldAnnotation), nil
	}
	text, err := json.Marshal(m)
	if err != nil || string(text) == live.GetAnnotations()[heldAnnotation] {
		return nil, err
	}
	return annotate(live, heldAnnotation, string(text)), nil
}

// restored returns the list as the shed of its canary found it: the canary's
// backends get back what they had, from who inherited it. It returns errNoMark,
// errReplaced or errRewritten if that cannot be said.
func (m marks) restored(s split, generation int64) (split, error) {
	r := split{label: s.label, backends: slices.Clone(s.backends)}
	ids := s.ids()
	for i, id := range ids {
		if !s.backends[i].canary {
			continue
		}
		was, ok := m[s.label][id]
		if !ok {
			return split{}, errNoMark
		}
		if was.Generation != 0 && was.Generation != generation {
			return split{}, errRewritten
		}
		if was.Weight == 0 {
			continue
		}
		heir := slices.Index(ids, was.Heir)
		if heir < 0 || r.backends[heir].weight < was.Weight {
			return split{}, errReplaced
		}
		r.backends[heir].weight -= was.Weight
		r.backends[i].weight = was.Weight
	}
	return r, nil
}

// found returns the list as the shed found it; as it is, if somebody has raised it
// since, or if it was never shed.
func (m marks) found(s split, mine names, generation int64) (split, error) {
	if s.canary() != 0 {
		return s, nil
	}
	r, err := m.restored(s, generation)
	if errors.Is(err, errNoMark) {
		if m.about(mine) {
			return split{}, errReplaced
		}
		return s, nil
	}
	return r, err
}

// about reports whether any list has a mark of one of those backends.
func (m marks) about(mine names) bool {
	for _, list := range m {
		for id := range list {
			if mine[id] {
				return true
			}
		}
	}
	return false
}

// kept returns the wanted weights of a list with nothing for the other canaries
// that are held on it: what they would get stays with who inherited it. It returns
// errNoOther if there is nobody. live is the list as it is.
func (m marks) kept(wanted, live split) (split, error) {
	k := split{label: wanted.label, backends: slices.Clone(wanted.backends)}
	ids := wanted.ids()
	held := func(i int) bool {
		_, marked := m[wanted.label][ids[i]]
		return marked && !wanted.backends[i].canary && live.backends[i].weight == 0
	}
	for i, id := range ids {
		if !held(i) || k.backends[i].weight == 0 {
			continue
		}
		heir := slices.Index(ids, m[wanted.label][id].Heir)
		if heir < 0 || held(heir) {
			heir = k.heaviest(func(j int) bool { return held(j) || k.backends[j].canary })
		}
		if heir < 0 {
			return split{}, errNoOther
		}
		k.backends[heir].weight += k.backends[i].weight
		k.backends[i].weight = 0
	}
	return k, nil
}
