package router

import (
	"slices"
	"sync"
)

// split gives turns in proportion to weights by smooth weighted round robin, as nginx's upstreams do: any sequence of as many
// turns as the sum of the weights is exact, and the rarer ones are spread over it.
type split struct {
	weights []int

	mu      sync.Mutex
	current []int
}

func newSplit(weights []int) *split {
	return &split{weights: weights, current: make([]int, len(weights))}
}

// next returns the index whose turn it is, or -1 if no weight is above zero.
func (s *split) next() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	best, sum := -1, 0
	for i, w := range s.weights {
		if w <= 0 {
			continue
		}
		sum += w
		s.current[i] += w
		if best < 0 || s.current[i] > s.current[best] {
			best = i
		}
	}
	if best >= 0 {
		s.current[best] -= sum
	}
	return best
}

// splits keeps the splits of a table for the next one, by their route's name: a change elsewhere must not restart a sequence.
type splits struct {
	last, kept map[string]*split
}

// of returns the route's existing split if its weights are the same, else a new one.
func (s *splits) of(route string, weights []int) *split {
	of, ok := s.last[route]
	if !ok || !slices.Equal(of.weights, weights) {
		of = newSplit(weights)
	}
	s.kept[route] = of
	return of
}

// turn drops the splits that of has not returned since the last turn.
func (s *splits) turn() { s.last, s.kept = s.kept, map[string]*split{} }
