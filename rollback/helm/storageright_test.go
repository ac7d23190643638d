package helm_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/upcommerce/backout/rollback"
)

// TestAnUnknownReleaseNamesTheStorages: a team that stores releases elsewhere reads why an
// alert is refused.
func TestAnUnknownReleaseNamesTheStorages(t *testing.T) {
	for _, tc := range []struct {
		storages  []rollback.Storage
		has, lack string
	}{
		{nil, "in the namespace's Secrets; one in ConfigMaps needs BACKOUT_HELM_DRIVER=secret,configmap; one in SQL is not supported", "Secrets and"},
		{[]rollback.Storage{rollback.ConfigMaps}, "in the namespace's ConfigMaps; one in Secrets needs BACKOUT_HELM_DRIVER", "Secrets and"},
		{both(), "in the namespace's Secrets and ConfigMaps; one in SQL is not supported: install it with HELM_DRIVER=secret or configmap", "needs"},
	} {
		c := newClusterWith(t, inSecrets, tc.storages...)
		_, err := c.History(t.Context(), rollback.Key{Namespace: "shop", Release: "none"}, rollback.Stored)
		if !errors.Is(err, rollback.ErrUnknownRelease) || !strings.Contains(err.Error(), tc.has) || strings.Contains(err.Error(), tc.lack) {
			t.Errorf("with %v the error says %q: got %v", tc.storages, tc.has, err)
		}
		if err != nil && len(err.Error()) > rollback.MaxSummary {
			t.Errorf("the reason of a refusal has room for the error: %d bytes", len(err.Error()))
		}
	}
	c := newClusterWith(t, inConfigMaps)
	if got, err := c.History(t.Context(), web(), rollback.Stored); !errors.Is(err, rollback.ErrUnknownRelease) {
		t.Errorf("without configuration, only Secrets are believed: got %v, %v", got, err)
	}
}

// TestTheRightsOfAShedMakeNoRollbackInConfigMaps: those to create and update ConfigMaps are for
// records.
func TestTheRightsOfAShedMakeNoRollbackInConfigMaps(t *testing.T) {
	for missing, want := range map[string]string{
		"":      "",
		"POST":  "backout may not create it",
		"PATCH": "backout may not patch it; add to backout's Role in namespace shop {apiGroups: [\"\"], resources: [configmaps], verbs: [create, update, patch]}",
	} {
		c := newClusterWith(t, inConfigMaps, both()...)
		plan := c.plan(t, 2)
		c.refuse = func(method, object string) metav1.Status {
			if method == missing && strings.HasPrefix(object, "configmaps/sh.helm") {
				return forbidden(method, object)
			}
			return metav1.Status{}
		}
		result, err := c.Preflight(t.Context(), plan)
		if err != nil {
			t.Fatal(err)
		}
		found := slices.ContainsFunc(result.Dangers, func(d rollback.Danger) bool {
			return d.Kind == rollback.DangerForbidden && strings.Contains(d.What, want)
		})
		if found != (want != "") || want == "" && len(result.Dangers) > 0 {
			t.Errorf("without the right to %s, want the danger %q: got %v", missing, want, result.Dangers)
		}
	}
}
