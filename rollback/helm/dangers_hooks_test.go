package helm_test

import (
	"strings"
	"testing"
	"time"

	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/release"
	helmtime "helm.sh/helm/v3/pkg/time"

	"github.com/upcommerce/backout/rollback"
)

// hooked is a revision with an upgrade hook.
type hooked struct {
	number            int
	description, hook string // the hook's manifest
	manifest          string
	events            []release.HookEvent
	// ran is when the hook ran last, since the deployment; zero for never.
	ran time.Duration
}

// hooked stores the revision, deployed some minutes after the hour.
func (c *cluster) hooked(t *testing.T, h hooked) {
	t.Helper()
	at := helmtime.Time{Time: time.Date(2026, 11, 27, 12, h.number, 0, 0, time.UTC)}
	hook := &release.Hook{Name: "migrate", Manifest: h.hook, Events: h.events}
	if h.events == nil {
		hook.Events = []release.HookEvent{release.HookPreUpgrade, release.HookPreInstall}
	}
	if h.ran != 0 {
		hook.LastRun.StartedAt = at.Add(h.ran)
	}
	if h.manifest == "" {
		h.manifest = manifest("v3", "20")
	}
	err := c.store.Create(secretName(h.number), &release.Release{
		Name: "web", Namespace: "shop", Version: h.number, Manifest: h.manifest,
		Chart: &chart.Chart{Metadata: &chart.Metadata{Name: "web-chart"}},
		Info:  &release.Info{Status: release.StatusDeployed, Description: h.description, LastDeployed: at},
		Hooks: []*release.Hook{hook},
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestUpgradeHooksAreDangers: a rollback does not undo what they did.
func TestUpgradeHooksAreDangers(t *testing.T) {
	hook := func(image string) string {
		return "kind: Job\napiVersion: batch/v1\nmetadata: {name: migrate, annotations: {helm.sh/hook: pre-upgrade}}\nspec: {template: {metadata: {annotations: {at: now}}, spec: {containers: [{name: m, image: '" + image + "'}]}}}\n"
	}
	second := time.Second
	for rule, c := range map[string]struct {
		revisions []hooked
		target    int
		want      string // a part of the danger; "" for none
	}{
		"an upgrade ran a hook that the target does not have": {[]hooked{{number: 4, description: "Upgrade complete"}}, 2, "the upgrade to revision 4 ran migrate"},
		"it counts whatever the description of the upgrade says": {
			[]hooked{{number: 4, description: "Rollback of the discount flag, migrate orders", manifest: manifest("v4", "20")}}, 3, "revision 4 ran migrate",
		},
		"a description in Helm's own form is no fact either": {[]hooked{{number: 4, description: "Rollback to 2", manifest: manifest("v4", "20")}}, 2, "revision 4 ran migrate"},
		"nor one that names a revision that is gone":         {[]hooked{{number: 4, description: "Rollback to 0"}}, 2, "revision 4 ran migrate"},
		"nor where Helm has written that the hook ran": {
			[]hooked{{number: 4, description: "Upgrade complete", ran: second}, {number: 5, description: "Rollback to 4", ran: second, manifest: manifest("v5", "20")}}, 2, "revision 5 ran migrate",
		},
		"a rollback ran no upgrade hook": {
			[]hooked{{number: 4, description: "Upgrade complete"}, {number: 5, description: "Upgrade complete", events: []release.HookEvent{release.HookTest}}, {number: 6, description: "Rollback to 4"}}, 4, "",
		},
		"a rollback copies the hook's last run, whatever its description": {
			[]hooked{{number: 4, description: "back again", ran: -time.Minute}}, 2, "",
		},
		"a hook that is not for upgrades does not run": {[]hooked{{number: 4, events: []release.HookEvent{release.HookTest, release.HookPostInstall}}}, 2, ""},
		"the target has the same hook": {
			[]hooked{{number: 4, hook: hook("m:v1"), ran: second}, {number: 5, hook: strings.Replace(hook("m:v1"), "now", "later", 1), ran: second}}, 4, "",
		},
		"the target has another hook of that name": {
			[]hooked{{number: 4, hook: hook("m:v1"), ran: second}, {number: 5, hook: hook("m:v2"), ran: second}}, 4, "revision 5 ran migrate",
		},
	} {
		t.Run(rule, func(t *testing.T) {
			cluster := newCluster(t)
			for _, h := range c.revisions {
				cluster.hooked(t, h)
			}
			var found []rollback.Danger
			for _, d := range cluster.preflight(t, c.target).Dangers {
				if d.Kind == rollback.DangerHook {
					found = append(found, d)
				}
			}
			if (len(found) == 0) != (c.want == "") || len(found) > 0 && !strings.Contains(found[len(found)-1].What, c.want) {
				t.Errorf("%s: want %q, got %q", rule, c.want, found)
			}
		})
	}
}
