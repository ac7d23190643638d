package helm

import (
	"strings"
	"testing"

	"github.com/upcommerce/backout/rollback"
)

// previews is a release whose canary's pods have the label role=preview, next to a baseline.
const previews = `---
apiVersion: apps/v1
kind: Deployment
metadata: {name: shop}
spec: {template: {metadata: {labels: {app: shop, role: live}}, spec: {containers: [{name: web, image: "shop:v1", env: [{name: ROLE, value: stable}]}]}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: shop-baseline}
spec: {template: {metadata: {labels: {app: shop, role: baseline}}, spec: {containers: [{name: web, image: "shop:v0"}]}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: shop-next}
spec: {template: {metadata: {labels: {app: shop, role: preview, version: next}}, spec: {containers: [{name: web, image: "shop:v2", env: [{name: ROLE, value: preview}]}]}}}
`

func preview() rollback.Track {
	return rollback.Track{Label: "role", Canary: []string{"canary", "preview"}}
}

// contentBy is the content of the manifest by that track.
func contentBy(t *testing.T, track rollback.Track, manifest string) content {
	t.Helper()
	all, err := decodeManifest(manifest)
	if err != nil {
		t.Fatal(err)
	}
	return contentOf(declaration{track: track, namespace: "shop", objects: all, number: "3"})
}

// TestContentByTheTrackLabel: which pods are the canary's is the configured label's to say.
func TestContentByTheTrackLabel(t *testing.T) {
	before := contentBy(t, preview(), previews)
	if want := "Deployment shop-next: its pods have the label role=preview"; before.canary != want {
		t.Errorf("the content says what is taken for the canary: got %q, want %q", before.canary, want)
	}
	if got := strings.Join(before.images, ","); got != "shop:v2" {
		t.Errorf("the images are the canary's: got %s", got)
	}
	for change, counts := range map[[2]string]bool{{"shop:v1", "shop:v9"}: false, {"shop:v0", "shop:v9"}: false, {"shop:v2", "shop:v9"}: true} {
		changed := strings.ReplaceAll(previews, change[0], change[1])
		if after := contentBy(t, preview(), changed); (after.digest != before.digest) != counts {
			t.Errorf("%s -> %s is another content: want %t", change[0], change[1], counts)
		}
	}
	if plain := contentBy(t, rollback.Track{}, previews); plain.canary != "" || len(plain.images) != 3 {
		t.Errorf("by the default label it is a plain release: got %q, %q", plain.canary, plain.images)
	}
	promoted := contentBy(t, preview(), strings.ReplaceAll(strings.ReplaceAll(previews[:strings.LastIndex(previews, "---")], "shop:v1", "shop:v2"), "role: baseline", "role: live"))
	if promoted.canary != "" || promoted.pods[0] != before.pods[0] && promoted.pods[1] != before.pods[0] {
		t.Errorf("the pods are the same once they are promoted, whatever the values of the label: got %v, want %v among them", promoted.pods, before.pods)
	}
}

// TestDangersByTheTrackLabel: a rollback may replace the canary's pods, and not those of the stable
// track or a baseline.
func TestDangersByTheTrackLabel(t *testing.T) {
	k := rollback.Key{Namespace: "shop", Release: "shop"}
	suspect, err := decodeManifest(previews)
	if err != nil {
		t.Fatal(err)
	}
	for image, want := range map[string]string{"shop:v2": "", "shop:v1": "Deployment shop,", "shop:v0": "Deployment shop-baseline,"} {
		target, err := decodeManifest(strings.ReplaceAll(previews, image, "shop:v9"))
		if err != nil {
			t.Fatal(err)
		}
		got := stableDangers(preview(), k, suspect, target)
		if want == "" && len(got) > 0 || want != "" && (len(got) != 1 || !strings.Contains(got[0].What, want)) {
			t.Errorf("%s: got %v, want one about %q", image, got, want)
		}
	}
}
