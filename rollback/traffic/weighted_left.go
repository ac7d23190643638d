package traffic

import "slices"

// leave notes that the canary's backends of a list keep their weights, and why.
func (h heldWeights) leave(s split, why string) {
	if h[s.label] == nil {
		h[s.label] = make(map[string]heldWeight)
	}
	for i, id := range s.ids() {
		if b := s.backends[i]; b.canary && h[s.label][id].Left != why {
			h[s.label][id] = heldWeight{Weight: b.weight, Left: why}
		}
	}
}

// leftAlone says why a shed has left the canary's weight on the list as it is; "" if none has,
// or if the weight is zero.
func (h heldWeights) leftAlone(s split) string {
	why := ""
	for _, id := range s.canaryIDs() {
		if why = h[s.label][id].Left; why == "" {
			return ""
		}
	}
	if s.canaryWeight() == 0 {
		return ""
	}
	return why
}

// notes reports whether a shed has noted all of the canary's backends on the list.
func (h heldWeights) notes(s split) bool {
	return !slices.ContainsFunc(s.canaryIDs(), func(id string) bool {
		was, known := h[s.label][id]
		return !known || was.Left != ""
	})
}
