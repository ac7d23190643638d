package chart

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/report"
	"github.com/upcommerce/backout/tests/env/sandbox"
)

// inConfigMaps is c with a helm that stores releases in ConfigMaps.
func (c *cluster) inConfigMaps() *cluster {
	st := *c.Stage
	st.Cluster = c.InConfigMaps()
	return &cluster{Stage: &st, objects: c.objects}
}

// A team whose releases are all in ConfigMaps installs backout without any right to Secrets. A bad canary is rolled back, and Helm goes on with the
// release. Where backout may only shed, the rights to write records make no rollback. backout does not know a release in Secrets.
func TestReleasesInConfigMaps(t *testing.T) {
	t.Parallel()
	c := open(t)
	c.define(t, operatorKinds()...)
	c.appoint(t, []string{own, "maps", "sheds"}, "monitoring.coreos.com")
	c.install(t, "--set", "targets[0].namespace=maps,targets[0].releases={*},targets[1].namespace=sheds,targets[1].releases={*},targets[1].rollback=false",
		"--set", "config.helmDriver={configmap},config.mode=act,config.verify=1s,config.verifyLimit=3s,tests.enabled=false")
	maps := c.inConfigMaps()
	for _, tag := range []string{"v2", "v3"} {
		maps.upgrade(t, "maps", "shop", append(tracks(tag), split(tag)...))
		maps.upgrade(t, "sheds", "plain", plain(tag))
	}
	c.upgrade(t, "maps", "hidden", []string{"\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: hidden}"})
	c.ready(t, "maps")
	c.ready(t, "sheds")
	am := c.alertmanager(t, own)
	fire(t, am, labelsOf("maps", "hidden", "rollback"))
	fire(t, am, labelsOf("maps", "shop", "rollback"))
	fire(t, am, labelsOf("sheds", "plain", "rollback"))

	r := c.await(t, "maps", "backout.v1.shop.v2", func(r rollback.Record) bool { return r.Rollback.Succeeded() && closed(r) })
	t.Logf("the record: %s", report.Summary(&r))
	if r.Target != 1 || r.Made != 3 || r.Storage != rollback.ConfigMaps || !r.Restore.Succeeded() {
		t.Errorf("the record is not about a rollback in ConfigMaps to revision 1, as revision 3: %s, %q", report.Summary(&r), r.Storage)
	}
	history, err := maps.Helm(limited(t), "history", "shop", "--namespace", "maps")
	if err != nil || !strings.Contains(history, "Rollback to 1") || strings.Count(history, "deployed") != 1 {
		t.Errorf("helm history does not show the rollback: %v\n%s", err, history)
	}
	maps.upgrade(t, "maps", "shop", append(tracks("v4"), split("v4")...))
	if history, err = maps.Helm(limited(t), "history", "shop", "--namespace", "maps"); err != nil || !strings.Contains(history, "Upgrade complete") {
		t.Errorf("helm upgrade does not go on after the rollback: %v\n%s", err, history)
	}

	r = c.await(t, "sheds", "backout.v1.plain.v2", func(r rollback.Record) bool { return r.Shed.Succeeded() && r.Decision().Verdict == rollback.Unsafe })
	if reason := r.Decision().Reason; r.Rollback != nil || !strings.Contains(reason, "may not patch it") {
		t.Errorf("with the rights of a shed alone, the weight must be held at zero, and the reason names the right: %s: %s", report.Summary(&r), reason)
	}
	eventually(t, "the release in Secrets is refused", func(context.Context) bool {
		return strings.Contains(c.logs(), "no such Helm release in the namespace's ConfigMaps")
	})
	if _, known := c.record(limited(t), "maps", "backout.v1.hidden.v1"); known {
		t.Error("a release in Secrets has a record")
	}
	c.withoutRoute(t, maps, am)
	used, refused := c.used(t, "maps")
	for r := range refused {
		if used[r] = true; strings.HasSuffix(r, " configmaps") {
			t.Errorf("backout needs the right to %s, but does not have it", r)
		}
	}
	for r := range used {
		if strings.HasSuffix(r, " secrets") {
			t.Errorf("backout requested to %s", r)
		}
	}
}

// withoutRoute checks that a release without a route is rolled back, and that nothing is reported about routers whose kinds the API server does not
// serve: backout has no right to them.
func (c *cluster) withoutRoute(t *testing.T, maps *cluster, am *sandbox.Alertmanager) {
	t.Helper()
	for _, tag := range []string{"v2", "v3"} {
		maps.upgrade(t, "maps", "asks", renamed(tracks(tag)))
	}
	c.ready(t, "maps")
	fire(t, am, labelsOf("maps", "asks", "rollback"))
	r := c.await(t, "maps", "backout.v1.asks.v2", func(r rollback.Record) bool { return r.Rollback.Succeeded() })
	if text, err := yaml.Marshal(r); err != nil || strings.Contains(string(text), "forbidden") || strings.Contains(string(text), "allow backout to list") {
		t.Errorf("the record reports kinds that the API server does not serve: %v\n%s", err, text)
	}
}

// logs returns the logs of backout's pods.
func (c *cluster) logs() string {
	var all strings.Builder
	files, _ := filepath.Glob(filepath.Join(c.Sandbox.PodLogs(), own+"_*", "*.log"))
	for _, path := range files {
		text, _ := os.ReadFile(path)
		all.Write(text)
	}
	return all.String()
}
