package helm_test

import (
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/release"

	"github.com/upcommerce/backout/rollback"
)

// relic is an object of a kind that the API server does not serve any more.
const relic = "---\napiVersion: gone.example/v1\nkind: Relic\nmetadata: {name: relic}\nspec: {of: %s, big: 12345678901234567}\n"

// TestAKindThatIsNotServed: the CustomResourceDefinition is gone. That stops a rollback only if
// it has to write or delete such an object; Helm alone builds every object of both revisions.
func TestAKindThatIsNotServed(t *testing.T) {
	one, other := document(relic, "one"), document(relic, "other")
	list := "---\napiVersion: v1\nkind: List\nitems:\n- {apiVersion: gone.example/v1, kind: Relic, metadata: {name: relic}, spec: {of: one, big: 12345678901234567}}\n" +
		"- {apiVersion: v1, kind: ConfigMap, metadata: {name: listed}, data: {a: b}}\n"
	for what, tc := range map[string]struct {
		suspect, failed, target string
		stops                   bool
	}{
		"both revisions declare the same":          {one, "", one, false},
		"in a List":                                {list, "", list, false},
		"in a List and alone":                      {list, "", one + "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: listed}\ndata: {a: b}\n", false},
		"a failed upgrade declares the same":       {one, one, one, false},
		"a failed upgrade declares another":        {one, other, one, true},
		"they declare others":                      {one, "", other, true},
		"the target alone declares it":             {"", "", one, true},
		"the suspect alone declares it":            {one, "", "", true},
		"one of two is the same, the other is not": {one + strings.ReplaceAll(one, "name: relic", "name: second"), "", one, true},
	} {
		t.Run(what, func(t *testing.T) {
			c := newCluster(t)
			c.revision(t, 4, release.StatusSuperseded, manifest("v2", "20")+tc.target)
			c.revision(t, 5, release.StatusFailed, manifest("v3", "20")+tc.failed)
			c.revision(t, 6, release.StatusDeployed, manifest("v3", "20")+tc.suspect)
			if strings.Contains(tc.suspect, "listed") {
				c.live(t, "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: listed}\ndata: {a: b}\n")
			}
			plan := c.plan(t, 4)
			c.resetCounts()
			result, err := c.Preflight(t.Context(), plan)
			if err != nil {
				t.Fatal(err)
			}
			stays := slices.ContainsFunc(result.Differences, func(d string) bool {
				return d == "Relic relic stays as it is: the API server does not serve its kind, Relic of gone.example/v1"
			})
			if tc.stops {
				expectDanger(t, result, rollback.DangerUnbuildable, "is of a kind that the API server does not serve, Relic of gone.example/v1", "install the CustomResourceDefinition again")
			} else {
				expectDanger(t, result, "")
			}
			if stays == tc.stops {
				t.Errorf("the result says what stays: want %t, got %q", !tc.stops, result.Differences)
			}
			_, err = c.RollBack(t.Context(), plan)
			if (err != nil) != tc.stops || tc.stops != (len(c.writes) == 0) || err != nil && !strings.Contains(err.Error(), "Relic") {
				t.Fatalf("the object stops the rollback: want %t, got %v after %v", tc.stops, err, c.writes)
			}
			if tc.stops {
				return
			}
			if made, err := c.store.Get(secretName(7)); err != nil || made.Manifest != manifest("v2", "20")+tc.target {
				t.Errorf("the new revision declares all that the target declares: got %v, %v", made, err)
			}
			if version(c.objects["deployments/web-canary"]) != "v2" {
				t.Error("the release is not rolled back")
			}
			differences, err := c.Differences(t.Context(), plan)
			if err != nil || len(differences) != 1 || !strings.HasPrefix(differences[0], "Relic relic stays as it is") {
				t.Errorf("the record says what stays as it was: got %q, %v", differences, err)
			}
		})
	}
}

// TestAKindThatIsServedNoMore: the definition went while backout ran, which has read the discovery
// before.
func TestAKindThatIsServedNoMore(t *testing.T) {
	one, other := document(policy, "1", "1"), document(policy, "1", "2")
	for what, tc := range map[string]struct {
		target string
		stops  bool
	}{
		"both revisions declare the same": {one, false},
		"they declare others":             {other, true},
	} {
		t.Run(what, func(t *testing.T) {
			for _, first := range []string{"preflight", "rollback"} {
				c := newCluster(t)
				c.both(t, one, tc.target)
				c.live(t, one)
				plan := c.plan(t, 4)
				if _, err := c.Preflight(t.Context(), plan); err != nil {
					t.Fatal(err)
				}
				c.gone = "/apis/shop.example/v1/scalers"
				c.resetCounts()
				if first == "preflight" {
					result, err := c.Preflight(t.Context(), plan)
					if err != nil || tc.stops != (len(result.Dangers) > 0) || tc.stops == (len(result.Differences) > 0) {
						t.Errorf("the object stops the preflight: want %t, got %q, %q, %v", tc.stops, result.Dangers, result.Differences, err)
					}
				}
				_, err := c.RollBack(t.Context(), plan)
				if (err != nil) != tc.stops || tc.stops != (len(c.writes) == 0) {
					t.Errorf("%s first: the object stops the rollback: want %t, got %v after %v", first, tc.stops, err, c.writes)
				}
			}
		})
	}
}
