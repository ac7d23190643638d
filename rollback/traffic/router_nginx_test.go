package traffic

import (
	"strings"
	"testing"

	"github.com/upcommerce/backout/rollback"
)

// A match on a header of a VirtualServer decides for no other route, and a route with only the
// canary is named.
func TestVirtualServerMatchDoesNotDecide(t *testing.T) {
	text := virtualServer + `[
		{path: /, matches: [{conditions: [{cookie: beta, value: yes}], splits: [{weight: 5, action: {pass: old}}, {weight: 95, action: {pass: new}}]}],
			splits: [{weight: 80, action: {pass: old}}, {weight: 20, action: {pass: new}}]},
		{path: /beta, action: {pass: new}}]}}`
	client := cluster(t, text, endpoints("shop", ready))
	r, m := routerOn(client), manifest(t, canaryService, text)
	routing, err := r.Observe(t.Context(), shop(), m, rollback.Stored)
	if err != nil || routing.NoStable != "" || routing.Load != 1.25 || len(routing.Weights) != 2 {
		t.Errorf("the split for all users decides: got %+v, %v", routing, err)
	}
	changed, err := r.Shed(t.Context(), shop(), m, routing.Observation, nil)
	if err != nil || len(changed) != 2 || changed[0].Name != "shop route 1 (route 2 leads only to the canary and is left alone)" || changed[1].Name != "shop route 1 match 1" {
		t.Errorf("got %v, %v", changed, err)
	}
	if got := listWeights(liveObject(t, client, object(t, text)).Object); got != "100 0 | - | 100 0" {
		t.Errorf("after the shed: %s", got)
	}
}

// An upstream with a subselector is part of a Service: its name, or the annotation, says that it
// is the canary's.
func TestVirtualServerSubselector(t *testing.T) {
	text := `{apiVersion: k8s.nginx.org/v1, kind: VirtualServer, metadata: {name: shop}, spec: {upstreams: [
		{name: stable, service: shop, subselector: {track: stable}}, {name: canary, service: shop, subselector: {track: canary}}],
		routes: [{path: /, splits: [{weight: 90, action: {pass: stable}}, {weight: 10, action: {pass: canary}}]}]}}`
	client := cluster(t, text)
	changed, err := routerOn(client).Shed(t.Context(), shop(), manifest(t, sharedService, text), nil, nil)
	if err != nil || len(changed) != 1 || listWeights(liveObject(t, client, object(t, text)).Object) != "100 0" {
		t.Errorf("got %v, %v", changed, err)
	}
}

// The sum of the splits stays 100 in what Helm writes: the controller rejects another one.
func TestVirtualServerHeldSplitsAddUp(t *testing.T) {
	text := virtualServer + `[{path: /, splits: [{weight: 45, action: {pass: old}}, {weight: 45, action: {pass: beta}}, {weight: 10, action: {pass: new}}]}]}}`
	held := object(t, text)
	newRegistry().holdIn(manifest(t, canaryService, text), rollback.Track{}, nil)(held)
	if got := listWeights(held); got != "55 45 0" {
		t.Errorf("got %s", got)
	}
	if strings.Contains(listWeights(object(t, text)), "55") {
		t.Error("the manifest is changed")
	}
}
