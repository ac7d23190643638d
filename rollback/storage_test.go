package rollback_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/upcommerce/backout/rollback"
)

func TestParseStorages(t *testing.T) {
	for _, tc := range []struct {
		drivers string
		want    []rollback.Storage
		says    string
	}{
		{"secret", []rollback.Storage{rollback.Secrets}, ""},
		{"secrets", []rollback.Storage{rollback.Secrets}, ""},
		{"configmap", []rollback.Storage{rollback.ConfigMaps}, ""},
		{"configmaps,secret,configmap", []rollback.Storage{rollback.Secrets, rollback.ConfigMaps}, ""},
		{"secret, configmap", []rollback.Storage{rollback.Secrets, rollback.ConfigMaps}, ""},
		{"sql", nil, "stores in SQL"},
		{"secret,sql", nil, "stores in SQL"},
		{"memory", nil, "want secret, configmap, or both"},
		{"", nil, "want secret, configmap, or both"},
	} {
		got, err := rollback.ParseStorages(strings.Split(tc.drivers, ","))
		if !slices.Equal(got, tc.want) || (err != nil) != (tc.says != "") || err != nil && !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%q is %v, or an error that says %q: got %v, %v", tc.drivers, tc.want, tc.says, got, err)
		}
	}
	if got, err := rollback.ParseStorages(nil); err == nil {
		t.Errorf("no driver is no storage: got %v", got)
	}
}

// TestACommandForConfigMaps: without HELM_DRIVER, Helm does not find the release.
func TestACommandForConfigMaps(t *testing.T) {
	s := newShell(t)
	for line, want := range map[string]string{
		"helm rollback web 2 -n shop": "env HELM_DRIVER=configmap helm rollback web 2 -n shop",
		"helm history web -n shop":    "env HELM_DRIVER=configmap helm history web -n shop",
		"flux suspend helmrelease web -n flux-system && helm rollback web 2 -n shop":      "flux suspend helmrelease web -n flux-system && env HELM_DRIVER=configmap helm rollback web 2 -n shop",
		"flux suspend helmrelease web -n flux-system && backout rollback shop/web --to 2": "flux suspend helmrelease web -n flux-system && backout rollback shop/web --to 2",
		"kubectl describe secret sh.helm.release.v1.web.v2 -n shop":                       "kubectl describe configmap sh.helm.release.v1.web.v2 -n shop",
		"backout unhold shop/web": "backout unhold shop/web",
		"":                        "",
	} {
		c := rollback.ReadCommand(line)
		if c.String() != line {
			t.Fatalf("%q is no command", line)
		}
		if got := c.In(rollback.ConfigMaps); got.String() != want {
			t.Errorf("for a release in ConfigMaps %q is %q: got %q", line, want, got)
		}
		if got := c.In(rollback.Secrets); got != c {
			t.Errorf("for a release in Secrets %q stays as it is: got %q", line, got)
		}
		s.check(t, c.In(rollback.ConfigMaps))
		if changed := c.In(rollback.ConfigMaps); changed != c && changed.For(rollback.Key{Namespace: "shop", Release: "web"}) != (rollback.Command{}) {
			t.Errorf("no stored decision contains %q", changed)
		}
	}
}
