package helm

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/upcommerce/backout/rollback"
)

func TestStableDangers(t *testing.T) {
	unlabelled := func(name, image string) string {
		return "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: " + name + "}\nspec: {template: {metadata: {labels: {app: " + name + "}}, spec: {containers: [{name: c, image: 'web:" + image + "'}]}}}\n" +
			"---\napiVersion: v1\nkind: Service\nmetadata: {name: " + name + "}\nspec: {selector: {app: " + name + "}}\n"
	}
	workload := func(name, track, image string) string {
		return "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: " + name + "}\nspec: {replicas: 2, template: {metadata: {labels: {track: " + track + "}}, spec: {containers: [{name: c, image: '" + image + "'}]}}}\n"
	}
	for what, c := range map[string]struct{ suspect, target, want string }{
		"the canary changes alone":    {workload("web", "stable", "a") + workload("canary", "canary", "b"), workload("web", "stable", "a") + workload("canary", "canary", "a"), ""},
		"the stable track changes":    {workload("web", "stable", "b") + workload("canary", "canary", "b"), workload("web", "stable", "a") + workload("canary", "canary", "a"), "replace the pods of Deployment web"},
		"the stable track is deleted": {workload("web", "stable", "a") + workload("canary", "canary", "b"), workload("canary", "canary", "a"), "delete Deployment web"},
		"without labels, a pair of Services decides: the canary changes alone": {unlabelled("web", "a") + unlabelled("web-canary", "b"), unlabelled("web", "a") + unlabelled("web-canary", "a"), ""},
		"without labels, a pair of Services decides: the stable track changes": {unlabelled("web", "b") + unlabelled("web-canary", "b"), unlabelled("web", "a") + unlabelled("web-canary", "a"), "replace the pods of Deployment web,"},
		"with labels, names do not count":                                      {workload("web-canary", "stable", "b") + workload("web", "canary", "b"), workload("web-canary", "stable", "a") + workload("web", "canary", "a"), "Deployment web-canary"},
		"there is no canary":                                                   {workload("web", "stable", "b"), workload("web", "stable", "a"), ""},
		"only replicas change":                                                 {workload("web", "stable", "a") + workload("canary", "canary", "b"), strings.Replace(workload("web", "stable", "a"), "replicas: 2", "replicas: 3", 1) + workload("canary", "canary", "a"), ""},
	} {
		suspect, _ := decodeManifest(c.suspect)
		target, _ := decodeManifest(c.target)
		got := stableDangers(rollback.Key{Namespace: "shop", Release: "web"}, suspect, target)
		if (len(got) == 1) != (c.want != "") || len(got) == 1 && !strings.Contains(got[0].What, c.want) {
			t.Errorf("%s: want %q, got %q", what, c.want, got)
		}
	}
}

func TestDangersAreLimited(t *testing.T) {
	var many []rollback.Danger
	for i := range 30 {
		many = append(many, rollback.Danger{Kind: rollback.DangerSecret, What: fmt.Sprintf("Secret %02d", i)}, rollback.Danger{Kind: rollback.DangerPVC, What: "the same"})
	}
	got := limitDangers(many)
	if len(got) != 1+maxDangers || got[0].Kind != rollback.DangerPVC || !strings.Contains(got[maxDangers].What, "21 more") {
		t.Errorf("duplicates are dropped, and of each kind some are shown: got %q", got)
	}
	long := errorText(errors.New(strings.Repeat("ä", maxErrorText) + "\nnext"))
	if utf8.RuneCountInString(long) > maxErrorText || !strings.HasSuffix(long, "…") || strings.Contains(long, "\n") {
		t.Errorf("the quotation of an error is one short line: got %q", long)
	}
}

func TestDeletionDangers(t *testing.T) {
	for what, c := range map[string]struct {
		manifest string
		want     rollback.DangerKind
	}{
		"claims deleted with a StatefulSet": {"kind: StatefulSet\nspec: {persistentVolumeClaimRetentionPolicy: {whenDeleted: Delete}}", rollback.DangerPVC},
		"claims that stay":                  {"kind: StatefulSet\nspec: {persistentVolumeClaimRetentionPolicy: {whenDeleted: Retain}}", ""},
		"anything else":                     {"kind: Service", ""},
	} {
		all, err := decodeManifest("apiVersion: v1\nmetadata: {name: x}\n" + c.manifest)
		if err != nil {
			t.Fatal(err)
		}
		got := deletionDangers("x", &unstructured.Unstructured{Object: all[0]})
		if (len(got) == 1) != (c.want != "") || len(got) == 1 && got[0].Kind != c.want {
			t.Errorf("%s: want %q, got %q", what, c.want, got)
		}
	}
}
