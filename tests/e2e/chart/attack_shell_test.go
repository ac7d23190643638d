package chart

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/client-go/kubernetes"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/report"
)

// injection is a name that is a command where a shell reads it unquoted.
const injection = "web; touch pwned #"

// shell: names of owners that are commands, in an annotation of a live Ingress, an owner reference, a label and the URL of a webhook.
func (a *attacked) shell(t *testing.T) {
	client, err := kubernetes.NewForConfig(a.asEditor())
	if err != nil {
		t.Fatal(err)
	}
	owned := func(meta string) string {
		return strings.Replace(split("v1")[1], "metadata: {", "metadata: {"+meta, 1)
	}
	annotated := fmt.Sprintf("argo-rollouts.argoproj.io/managed-by-rollouts: %q", injection)
	named := strings.Replace(split("v1")[1], "name: shop-canary", "name: annotation-canary", 1)
	live := strings.Replace(named, "annotations: {", "annotations: {"+annotated+", ", 1)
	if err := client.NetworkingV1().RESTClient().Post().Namespace("shop").Resource("ingresses").SetHeader("Content-Type", "application/yaml").
		Body([]byte(live)).Do(limited(t)).Error(); err != nil {
		t.Fatal(err)
	}
	for name, object := range map[string]string{
		"annotation": named,
		"reference":  owned(fmt.Sprintf("ownerReferences: [{apiVersion: flagger.app/v1beta1, kind: Canary, name: %q, uid: a}], ", injection)),
		"label":      owned(fmt.Sprintf("labels: {helm.toolkit.fluxcd.io/name: %q, helm.toolkit.fluxcd.io/namespace: flux-system}, ", injection)),
		"gate": "\napiVersion: flagger.app/v1beta1\nkind: Canary\nmetadata: {name: web}\nspec: {targetRef: {kind: Deployment, name: shop-canary}, " +
			`analysis: {webhooks: [{type: rollback, url: "http://x/; touch pwned #/check"}]}}`,
	} {
		a.forgeRevisions(t, name, strings.Join(append(tracks("v1"), object), "\n---"), strings.Join(append(tracks("v2"), object), "\n---"))
		a.fire(t, suspecting(name, 2))
		r := a.decided(t, name, rollback.Managed)
		for _, command := range report.Commands(&r) {
			t.Logf("%s: do: %s", name, command.Line)
			runsNothing(t, command.Line.String())
		}
	}
}

// runsNothing has a real shell read a command, with programs that do nothing, and checks that no text of another client was run.
func runsNothing(t *testing.T, command string) {
	t.Helper()
	programs, work := t.TempDir(), t.TempDir()
	for _, name := range []string{"kubectl", "helm", "flux", "argocd", "curl", "backout", "xargs"} {
		if err := os.WriteFile(filepath.Join(programs, name), []byte("#!/bin/sh\nexit 0\n"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	touch, err := exec.LookPath("touch")
	if err == nil {
		err = os.Symlink(touch, filepath.Join(programs, "touch"))
	}
	if err != nil {
		t.Fatal(err)
	}
	run := exec.CommandContext(limited(t), "/bin/sh", "-c", command)
	run.Env, run.Dir = []string{"PATH=" + programs}, work
	if out, err := run.CombinedOutput(); err != nil {
		t.Errorf("a shell does not run %s: %v\n%s", command, err, out)
	}
	if left, _ := os.ReadDir(work); len(left) > 0 {
		t.Errorf("a text of another client was run: %s", command)
	}
}
