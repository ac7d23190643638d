package engine

import (
	"slices"
	"testing"

	"github.com/upcommerce/backout/rollback"
)

// A held route that is gone is named once; an autoscaler that is gone gives the canary nothing.
func TestGoneRoutes(t *testing.T) {
	r := rollback.Record{Weights: []rollback.Weight{
		{Kind: "HTTPRoute", Name: "shop rule 1"}, {Kind: "HTTPRoute", Name: "shop rule 2"}, {Kind: "Deployment", Name: "shop"}, {Kind: rollback.ScalerKind, Name: "shop"},
	}}
	live := rollback.Routing{Weights: []rollback.Weight{{Kind: "Deployment", Name: "shop"}}}
	if got := goneRoutes(r, live); !slices.Equal(got, []string{"HTTPRoute/shop"}) {
		t.Errorf("got %q", got)
	}
}
