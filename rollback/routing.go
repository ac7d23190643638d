package rollback

import (
	"slices"
	"time"
)

// Routing is the canary's live traffic.
type Routing struct {
	// Weights are the live ones of the canary; From and To are equal.
	Weights []Weight
	// Writers are the field managers that wrote those of the Weights that are not zero, in the
	// same order; "" where that is not known, nil if it is not known of any.
	Writers []string
	// NoStable says why nothing else could serve the canary's traffic, such as "Service
	// shop has no ready endpoint"; "" if the stable pods could.
	NoStable string
	// Load is the load of a stable pod without the canary, as a multiple of its load now; 1
	// if nothing changes.
	Load float64
	// Owner is the tool that manages the live routing objects, if any.
	Owner Owner
	// Missed says, a sentence each, which ways to the canary backout neither reads nor writes, and
	// what to do about it: its route may be elsewhere or of an unknown kind.
	Missed []string
	// Observation is for a shed that follows at once; nil unless every route could be read.
	Observation Observation
}

// Open reports whether the canary has a weight above zero on any route.
func (r Routing) Open() bool {
	return slices.ContainsFunc(r.Weights, func(w Weight) bool { return w.To != "0" })
}

// Writer returns the field manager that wrote the weight at that index; "" if it is not known.
func (r Routing) Writer(i int) string {
	if i < len(r.Writers) {
		return r.Writers[i]
	}
	return ""
}

// The annotations with which a shed marks a routing object, for as long as it holds a weight at
// zero there: the weights that it found, and the rules that it removed.
const (
	HeldAnnotation      = "backout.dev/held-weight"
	HeldRulesAnnotation = "backout.dev/held-rules"
)

// GuardedRelease is an opted-in release with its canary's live traffic.
type GuardedRelease struct {
	Key `json:",inline"`
	// Routes are the canary's live shares; empty if backout knows no route to a canary.
	Routes []RouteShare `json:"routes,omitempty"`
	// ReadAt is when they were last read.
	ReadAt time.Time `json:"read"`
}

// HeldRoutes returns the routes that a shed has set to zero and marked.
func (g GuardedRelease) HeldRoutes() []string {
	var held []string
	for _, r := range g.Routes {
		if r.Held {
			held = append(held, r.Route)
		}
	}
	return held
}

// RouteShare is the canary's share of the traffic of one route.
type RouteShare struct {
	// Route is its kind and name, such as "Ingress/shop-canary".
	Route   string  `json:"route"`
	Percent float64 `json:"percent"`
	// Held says that a shed has set the weight to zero and marked the route.
	Held bool `json:"held,omitempty"`
}

// Observation contains the routes of a release as a Traffic read them. Only the Traffic
// that returned it can use it.
type Observation interface {
	// Release is the release whose routes were read.
	Release() Key
}
