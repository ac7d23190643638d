package scenarios

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/report"
	"github.com/upcommerce/backout/tests/env/stage"
)

// Histories that real teams have had, a release each, in front of one backout.
func TestHistoriesOfRealTeams(t *testing.T) {
	t.Parallel()
	st := empty(t)
	b := backout(t, st, 0, nil)
	for _, history := range []struct {
		name string
		play func(t *testing.T, st *stage.Stage, b *stage.Backout)
	}{
		{"an upgrade that is described as a rollback", describedAsARollback},
		{"variables twice, and a container of a failed upgrade", leftByMerges},
		{"KEDA scales a canary up that is held at zero", scaledByKEDA},
		{"helm was killed, and the release has no canary", helmKilled},
	} {
		t.Run(history.name, func(t *testing.T) { history.play(t, st, b) })
	}
}

// web is a container of that version, with an environment.
func web(version, env string) string {
	return fmt.Sprintf(`{name: web, image: "%s:%s", env: [%s]}`, stage.StorefrontImage, version, env)
}

// workload is a Deployment with so many pods of that version.
func workload(name, version string, replicas int, containers string) string {
	return fmt.Sprintf(`apiVersion: apps/v1
kind: Deployment
metadata: {name: %[1]s}
spec:
  replicas: %[3]d
  selector: {matchLabels: {app: %[1]s}}
  template:
    metadata: {labels: {app: %[1]s, version: %[2]s}}
    spec:
      containers: [%[4]s]
`, name, version, replicas, containers)
}

// charted returns a chart with those objects.
func charted(t *testing.T, objects ...string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"Chart.yaml": "apiVersion: v2\nname: team\nversion: 1.0.0\n", "templates/all.yaml": strings.Join(objects, "---\n"),
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// upgraded has the real helm program make the next revision of the release.
func upgraded(ctx context.Context, st *stage.Stage, release, chart string, args ...string) error {
	_, err := st.Helm(ctx, append([]string{"upgrade", "--install", release, chart, "--namespace", stage.Namespace, "--create-namespace"}, args...)...)
	return err
}

func upgrade(t *testing.T, st *stage.Stage, release, chart string, args ...string) {
	t.Helper()
	if err := upgraded(limited(t), st, release, chart, args...); err != nil {
		t.Fatal(err)
	}
}

func accuse(t *testing.T, b *stage.Backout, release, version, level string) {
	t.Helper()
	body := payload(t, labels(map[string]string{"release": release, "version": version, "backout": level}))
	if code, text := post(t, b, stage.Token, body); code != 200 {
		t.Fatalf("the alert was answered %d: %s", code, text)
	}
}

// The words of a description hide no hook that ran, and do not make a good revision a failed one.
func describedAsARollback(t *testing.T, st *stage.Stage, b *stage.Backout) {
	const release = "described"
	hook := "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: migrate, annotations: {helm.sh/hook: pre-upgrade}}\n"
	upgrade(t, st, release, charted(t, workload(release, "v1", 0, web("v1", ""))), "--description", "Retry failed payments")
	upgrade(t, st, release, charted(t, workload(release, "v2", 0, web("v2", "")), hook), "--description", "Rollback of the price change, by SHOP-811")
	accuse(t, b, release, "v2", "rollback")
	r := recordOf(t, b, release, 2, func(r rollback.Record) bool { return r.Decision().NeedsHelp })
	if d := r.Decision(); d.Verdict != rollback.Unsafe || !strings.Contains(d.Reason, "migrate") || r.Rollback != nil {
		t.Errorf("%s: %s; want unsafe, with the hook, and no rollback", report.Summary(&r), d.Reason)
	}
	contains(t, "the explanation", command(t, st, "explain", stage.Namespace+"/"+release), "backout rollback canary-demo/described --to 1 --allow hook")
}

// Helm's merge alone loses a variable that the suspect has twice, and keeps the container of an upgrade
// that failed: its pods would crash for ever.
func leftByMerges(t *testing.T, st *stage.Stage, b *stage.Backout) {
	const release, on = "merged", `{name: MODE, value: "on"}`
	helper := `, {name: helper, image: "example/helper:gone"}`
	// The API server refuses the name when Helm has written the Deployment.
	refused := "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: NO_NAME}\nspec: {defaultBackend: {service: {name: web, port: {number: 80}}}}\n"
	upgrade(t, st, release, charted(t, workload(release, "v1", 0, web("v1", on))))
	if err := upgraded(limited(t), st, release, charted(t, workload(release, "v2", 0, web("v2", on)+helper), refused)); err == nil {
		t.Fatal("the upgrade with a bad object did not fail")
	}
	upgrade(t, st, release, charted(t, workload(release, "v3", 0, web("v3", on+", "+on))))
	if got := containersOf(t, st, release); len(got) != 2 {
		t.Fatalf("the failed upgrade left no container, and proves nothing: %+v", got)
	}
	accuse(t, b, release, "v3", "rollback")
	r := recordOf(t, b, release, 3, rolledBack)
	got := containersOf(t, st, release)
	if r.Target != 1 || len(got) != 1 || got[0].Image != stage.StorefrontImage+":v1" {
		t.Fatalf("%s: live containers %+v; want that of revision 1 alone", report.Summary(&r), got)
	}
	if env := got[0].Env; len(env) != 1 || env[0] != (corev1.EnvVar{Name: "MODE", Value: "on"}) {
		t.Errorf("the environment is %v, want MODE=on as revision 1 declares", env)
	}
	if len(r.Differences) > 0 {
		t.Errorf("the record names differences that do not exist: %q", r.Differences)
	}
}

// containersOf returns those of the live Deployment of that name.
func containersOf(t *testing.T, st *stage.Stage, name string) []corev1.Container {
	t.Helper()
	d, err := st.Client.AppsV1().Deployments(stage.Namespace).Get(limited(t), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return d.Spec.Template.Spec.Containers
}

// KEDA scales to its minReplicaCount whatever backout holds: it is no operator who lifts the hold.
func scaledByKEDA(t *testing.T, st *stage.Stage, b *stage.Backout) {
	const release = "scaled"
	track := func(name, version, track string) string {
		return strings.ReplaceAll(workload(name, version, 1, web(version, "")), "app: "+name, "app: shop, track: "+track)
	}
	service := "apiVersion: v1\nkind: Service\nmetadata: {name: shop}\nspec: {selector: {app: shop}, ports: [{port: 80, targetPort: 5000}]}\n"
	upgrade(t, st, release, charted(t, service, track("shop", "v1", "stable"), track("shop-canary", "v2", "canary")))
	if err := st.AwaitRollout(limited(t)); err != nil {
		t.Fatal(err)
	}
	accuse(t, b, release, "v2", "shed")
	recordOf(t, b, release, 1, func(r rollback.Record) bool { return r.Hold.Active() && len(r.Weights) == 1 })
	config := st.Sandbox.RESTConfig()
	config.UserAgent = "keda/v0.0.0 (linux/amd64) kubernetes/$Format" // as its field manager
	keda, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	deployments := keda.AppsV1().Deployments(stage.Namespace)
	scale, err := deployments.GetScale(limited(t), "shop-canary", metav1.GetOptions{})
	if err != nil || scale.Spec.Replicas != 0 {
		t.Fatalf("the canary is not shed: %+v, %v", scale, err)
	}
	scale.Spec.Replicas = 1
	if _, err := deployments.UpdateScale(limited(t), "shop-canary", scale, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	r := recordOf(t, b, release, 1, func(r rollback.Record) bool { return r.Hold.Reopened > 0 || !r.Hold.Active() })
	if !r.Hold.Active() || !strings.Contains(r.Hold.ReopenedBy, "keda") || !report.NeedsHelp(&r) {
		t.Errorf("%s: hold %+v; want it to go on, and the team notified of keda", report.Summary(&r), r.Hold)
	}
	if scale, err = deployments.GetScale(limited(t), "shop-canary", metav1.GetOptions{}); err != nil || scale.Spec.Replicas != 0 {
		t.Errorf("the canary has %d replicas, %v; want zero again", scale.Spec.Replicas, err)
	}
}

// The process that ran helm upgrade is gone, and nothing can be taken out of rotation: the team
// is asked at once, with the command that ends the operation.
func helmKilled(t *testing.T, st *stage.Stage, b *stage.Backout) {
	const release = "killed"
	upgrade(t, st, release, charted(t, workload(release, "v1", 0, web("v1", ""))))
	ctx := limited(t)
	helm, kill := context.WithCancel(ctx)
	defer kill()
	ended := make(chan error, 1)
	hangs := strings.ReplaceAll(workload(release, "v2", 1, web("v2", "")), "    spec:\n", "    spec:\n      nodeSelector: {nowhere: \"true\"}\n")
	go func() { ended <- upgraded(helm, st, release, charted(t, hangs), "--wait") }()
	for pending := false; !pending; time.Sleep(20 * time.Millisecond) {
		secrets, err := st.Client.CoreV1().Secrets(stage.Namespace).List(ctx, metav1.ListOptions{LabelSelector: "owner=helm,status=pending-upgrade,name=" + release})
		if err != nil {
			t.Fatal(err)
		}
		pending = len(secrets.Items) == 1
	}
	kill()
	if err := <-ended; err == nil {
		t.Fatal("helm has finished")
	}
	accuse(t, b, release, "v2", "rollback")
	r := recordOf(t, b, release, 2, func(r rollback.Record) bool { return report.NeedsHelp(&r) })
	if d := r.Decision(); d.Verdict != rollback.Busy || time.Since(r.Signals[0].Received) > 10*time.Second {
		t.Errorf("%s: %s; want busy, and help asked for within seconds", report.Summary(&r), d.Reason)
	}
	contains(t, "the explanation", command(t, st, "explain", stage.Namespace+"/"+release),
		"no canary to take out of rotation", "Look now", "helm rollback killed 1 -n canary-demo")
	if _, err := st.Helm(limited(t), "rollback", release, "1", "-n", stage.Namespace); err != nil {
		t.Errorf("the command does not help: %v", err)
	}
	recordOf(t, b, release, 2, closed)
}
