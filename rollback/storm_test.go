package rollback_test

import (
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/rollbacktest"
)

// The ages are in minutes: how long ago each of the others got its signal.
func TestStormAmong(t *testing.T) {
	now := rollbacktest.Now()
	for _, c := range []struct {
		what    string
		ages    []int
		firing  bool
		optedIn int
		storm   bool
		over    int // minutes from now
	}{
		{what: "one release alone"},
		{what: "four within the window", ages: []int{1, 2, 3}},
		{what: "five within the window", ages: []int{1, 2, 3, 4}, storm: true, over: 9},
		{what: "five, one of them before the window", ages: []int{1, 2, 3, 11}},
		{what: "five, one of them before the window and still firing", ages: []int{1, 2, 3, 11}, firing: true, storm: true, over: 9},
		{what: "no new one for a window", ages: []int{10, 11, 12, 13, 14, 15}, firing: true},
		{what: "five within an hour", ages: []int{9, 18, 27, 36}},
		{what: "six within an hour", ages: []int{9, 18, 27, 36, 45}, storm: true, over: 1},
		{what: "six within an hour, the others long before", ages: []int{15, 27, 36, 45, 50}},
		{what: "a storm that a new one prolongs", ages: []int{8, 17, 18, 18, 18, 18}, storm: true, over: 2},
		{what: "nine of a thousand", ages: []int{1, 1, 1, 1, 1, 1, 1, 1}, optedIn: 1000},
		{what: "ten of a thousand", ages: []int{1, 1, 1, 1, 1, 1, 1, 1, 1}, optedIn: 1000, storm: true, over: 9},
		{what: "ten of a thousand and one", ages: []int{1, 1, 1, 1, 1, 1, 1, 1, 1}, optedIn: 1001},
		{what: "five of a hundred", ages: []int{1, 1, 1, 1}, optedIn: 100, storm: true, over: 9},
	} {
		var others []rollback.Suspected
		for _, age := range c.ages {
			s := rollback.Suspected{Since: now.Add(-time.Duration(age) * time.Minute), Over: !c.firing, Last: now}
			others = append(others, s)
		}
		p := rollbacktest.Policy()
		storm := rollback.StormAmong(others, c.optedIn, p, now)
		if got := storm.Others+1 >= max(storm.Least, p.StormReleases); got != c.storm {
			t.Errorf("%s: storm %t, want %t (%+v)", c.what, got, c.storm, storm)
		} else if c.storm && !storm.Over.Equal(now.Add(time.Duration(c.over)*time.Minute)) {
			t.Errorf("%s: over in %s, want in %d minutes", c.what, storm.Over.Sub(now), c.over)
		}
	}
}

// A record keeps a number of decisions at most; from when until when the release was in a storm
// stays known, for the place in the queue depends on it.
func TestManyDecisionsDoNotForgetAStorm(t *testing.T) {
	at := func(minute int) time.Time { return rollbacktest.Now().Add(time.Duration(minute) * time.Minute) }
	for name, before := range map[string]int{"the storm came first": 0, "after other decisions": 4} {
		t.Run(name, func(t *testing.T) {
			var r rollback.Record
			for i := range before {
				r.Decide(rollback.Decision{Verdict: rollback.Settling, Reason: strconv.Itoa(i), At: at(i - 60)})
			}
			for i := range 3 {
				r.Decide(rollback.Decision{Verdict: rollback.Storming, Reason: strconv.Itoa(i), At: at(i)})
			}
			for i := range 40 {
				r.Decide(rollback.Decision{Verdict: rollback.Storming, Shed: true, Reason: strconv.Itoa(i), At: at(10 + i)})
			}
			since, was := r.WasInStorm()
			if !was || !since.Equal(at(0)) {
				t.Errorf("in a storm: %t, since %s; want since %s", was, since, at(0))
			}
			if after := r.Decisions[slices.IndexFunc(r.Decisions, func(d rollback.Decision) bool { return d.Shed })]; !after.At.Equal(at(10)) {
				t.Errorf("the storm ended at %s, want %s", after.At, at(10))
			}
		})
	}
}
