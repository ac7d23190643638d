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
		got := stableDangers(rollback.Track{}, rollback.Key{Namespace: "shop", Release: "web"}, suspect, target)
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
		"claims deleted with a StatefulSet": {"apiVersion: apps/v1\nkind: StatefulSet\nspec: {persistentVolumeClaimRetentionPolicy: {whenDeleted: Delete}}", rollback.DangerPVC},
		"claims that stay":                  {"apiVersion: apps/v1\nkind: StatefulSet\nspec: {persistentVolumeClaimRetentionPolicy: {whenDeleted: Retain}}", ""},
		"a claim":                           {"apiVersion: v1\nkind: PersistentVolumeClaim", rollback.DangerPVC},
		"a Job that runs":                   {"apiVersion: batch/v1\nkind: Job\nstatus: {active: 1}", rollback.DangerJob},
		"a Job that has ended":              {"apiVersion: batch/v1\nkind: Job\nstatus: {succeeded: 1}", ""},
		"a Secret":                          {"apiVersion: v1\nkind: Secret", rollback.DangerSecret},
		"a Service":                         {"apiVersion: v1\nkind: Service", ""},
		"a Deployment":                      {"apiVersion: apps/v1\nkind: Deployment", ""},
		"a route":                           {"apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute", ""},
		"a monitor":                         {"apiVersion: monitoring.coreos.com/v1\nkind: ServiceMonitor", ""},
		"a database of an operator":         {"apiVersion: postgresql.cnpg.io/v1\nkind: Cluster", rollback.DangerData},
		"a Prometheus, with its storage":    {"apiVersion: monitoring.coreos.com/v1\nkind: Prometheus", rollback.DangerData},
		"a kind with the name of another":   {"apiVersion: example.com/v1\nkind: Service", rollback.DangerData},
		"a Secret's own maker":              {"apiVersion: external-secrets.io/v1\nkind: ExternalSecret", rollback.DangerData},
		"a kind that nothing knows":         {"apiVersion: v1\nkind: Vault", rollback.DangerData},
	} {
		all, err := decodeManifest("metadata: {name: x}\n" + c.manifest)
		if err != nil {
			t.Fatal(err)
		}
		got := deletionDangers("x", &unstructured.Unstructured{Object: all[0]})
		if (len(got) == 1) != (c.want != "") || len(got) == 1 && got[0].Kind != c.want {
			t.Errorf("%s: want %q, got %q", what, c.want, got)
		}
	}
}

func TestRunsOnce(t *testing.T) {
	for manifest, want := range map[string]bool{
		"apiVersion: batch/v1\nkind: Job":                                  true,
		"apiVersion: batch.volcano.sh/v1alpha1\nkind: Job":                 true,
		"apiVersion: batch/v1\nkind: Job\nspec: {suspend: true}":           false,
		"apiVersion: batch/v1\nkind: CronJob":                              false,
		"apiVersion: v1\nkind: Pod\nspec: {restartPolicy: Never}":          true,
		"apiVersion: v1\nkind: Pod":                                        false,
		"apiVersion: argoproj.io/v1alpha1\nkind: Workflow":                 true,
		"apiVersion: tekton.dev/v1\nkind: PipelineRun":                     true,
		"apiVersion: apps/v1\nkind: Deployment":                            false,
		"apiVersion: keda.sh/v1alpha1\nkind: ScaledJob":                    false,
		"apiVersion: sparkoperator.k8s.io/v1beta2\nkind: SparkApplication": true,
	} {
		all, err := decodeManifest(manifest)
		if err != nil {
			t.Fatal(err)
		}
		if got := runsOnce(&unstructured.Unstructured{Object: all[0]}); got != want {
			t.Errorf("%q runs to its end once it is created: want %t, got %t", manifest, want, got)
		}
	}
}
