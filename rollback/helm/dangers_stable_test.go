package helm_test

import (
	"fmt"
	"testing"

	"helm.sh/helm/v3/pkg/release"

	"github.com/upcommerce/backout/rollback"
)

// stableTrack is the stable workload next to the canary; pod is YAML.
func stableTrack(chart, pod string) string {
	return fmt.Sprintf("---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, labels: {helm.sh/chart: web-%s}}\n"+
		"spec: {selector: {matchLabels: {track: stable}}, template: {metadata: {labels: {track: stable}}, spec: {%s}}}\n", chart, pod)
}

// TestLivePodsOfTheStableTrack: both revisions declare the same pods of the stable track, and
// the live ones are others.
func TestLivePodsOfTheStableTrack(t *testing.T) {
	const (
		v1      = "containers: [{name: c, image: 'web:v1'}]"
		v2      = "containers: [{name: c, image: 'web:v2'}]"
		sidecar = "containers: [{name: c, image: 'web:v1'}, {name: proxy, image: 'proxy:v1'}]"
	)
	for what, c := range map[string]struct {
		suspectChart, live string
		// failed is what a failed upgrade between the two revisions declares; "" is no such.
		failed string
		kind   rollback.DangerKind
	}{
		"a failed upgrade left its own":                                {"1", v2, v2, rollback.DangerStable},
		"a failed upgrade left a container":                            {"1", sidecar, sidecar, rollback.DangerStable},
		"an operator set the image, and the chart has another version": {"2", v2, "", rollback.DangerStable},
		"they are as declared, and the chart has another version":      {"2", v1, "", ""},
		"they are as declared, though an upgrade failed":               {"1", v1, v2, ""},
	} {
		t.Run(what, func(t *testing.T) {
			cl := newCluster(t)
			cl.revision(t, 4, release.StatusSuperseded, manifest("v2", "20")+stableTrack("1", v1))
			if c.failed != "" {
				cl.revision(t, 5, release.StatusFailed, manifest("v3", "20")+stableTrack("1", c.failed))
			}
			cl.revision(t, 6, release.StatusDeployed, manifest("v3", "20")+stableTrack(c.suspectChart, v1))
			cl.live(t, manifest("v3", "0")+stableTrack(c.suspectChart, c.live))
			expectDanger(t, cl.preflight(t, 4), c.kind, "replace the pods of Deployment web,")
		})
	}
}
