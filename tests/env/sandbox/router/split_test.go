package router

import (
	"slices"
	"testing"
)

func TestSplitIsExactAndSpread(t *testing.T) {
	for _, c := range []struct {
		weights []int
		want    []int // turns of one round
	}{
		{[]int{80, 20}, []int{0, 0, 1, 0, 0}},
		{[]int{1, 1}, []int{0, 1}},
		{[]int{5, 1, 1}, []int{0, 0, 1, 0, 2, 0, 0}},
		{[]int{100, 0}, []int{0, 0, 0}},
		{[]int{0, 1}, []int{1, 1, 1}},
		{[]int{0, 0}, []int{-1, -1}},
		{nil, []int{-1}},
	} {
		s := newSplit(c.weights)
		for round := range 3 {
			var got []int
			for range c.want {
				got = append(got, s.next())
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("weights %v, round %d: the turns were %v, want %v", c.weights, round, got, c.want)
			}
		}
	}
}

func TestSplitContinuesIfItsWeightsAreTheSame(t *testing.T) {
	var all splits
	all.turn()
	first := all.of("shop", []int{80, 20})
	all.turn()
	if all.of("shop", []int{80, 20}) != first {
		t.Error("a change elsewhere restarted the sequence")
	}
	if all.of("shop", []int{70, 30}) == first {
		t.Error("new weights must not continue the old sequence")
	}
	all.turn()
	all.turn()
	if len(all.last)+len(all.kept) > 0 {
		t.Error("the split of a deleted route was kept")
	}
}
