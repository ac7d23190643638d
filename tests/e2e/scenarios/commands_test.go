package scenarios

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/report"
	"github.com/upcommerce/backout/tests/env/stage"
)

// Windows that a test can wait for.
const settle, bake = time.Second, 3 * time.Second

// stopped is a release about which backout has decided that an operator has to act.
type stopped struct {
	verdict rollback.Verdict
	// env is that of the backout that decides.
	env map[string]string
	// stop brings the release to that point, and returns the record. Its name is the verdict.
	stop func(t *testing.T, c *terminal, release string) rollback.Record
	// helped checks what the command did.
	helped func(t *testing.T, c *terminal, release string)
}

// terminal is that of an operator: a cluster, backout, and a shell with the programs that commands name.
type terminal struct {
	st      *stage.Stage
	b       *stage.Backout
	path    string // of the programs
	suspend string // the file into which flux writes its arguments
}

// The first command that backout prints for a verdict that stops is one that helps: a shell runs it as it is printed.
func TestThePrintedCommandHelps(t *testing.T) {
	t.Parallel()
	st := empty(t)
	c := newTerminal(t, st)
	settings := func(more ...string) map[string]string {
		env := map[string]string{"BACKOUT_STORM_RELEASES": "100", "BACKOUT_SETTLE": settle.String(), "BACKOUT_CONFIRM_LIMIT": settle.String()}
		for _, pair := range more {
			name, value, _ := strings.Cut(pair, "=")
			env[name] = value
		}
		return env
	}
	for number, group := range [][]stopped{
		{
			{rollback.NoTarget, settings(), accusedFirst, hasAHistory},
			{rollback.Cooldown, settings(), accusedAgain, runsV2},
			{rollback.Own, settings(), accusedOwn, runsV1},
			{rollback.Unsafe, settings(), withAHook, runsV2},
			{rollback.Managed, settings(), ownedByFlux, isSuspended},
			{rollback.Paused, settings(), pausedBefore, isResumed},
			{rollback.NoStable, settings(), withoutStable, runsV2},
		},
		{{rollback.Baked, settings("BACKOUT_BAKE=" + bake.String()), accusedLate, runsV2}},
		{{rollback.Unknown, settings("BACKOUT_PROMETHEUS_URLS=http://127.0.0.1:9"), accusedSecond, runsV2}},
	} {
		c.b = backout(t, st, number, group[0].env)
		for _, s := range group {
			t.Run(string(s.verdict), func(t *testing.T) {
				release := string(s.verdict)
				r := s.stop(t, c, release)
				if r.Decision().Verdict != s.verdict {
					t.Fatalf("%s; want %s", report.Summary(&r), s.verdict)
				}
				t.Log(c.run(t, report.Commands(&r)[0].Line.String()))
				s.helped(t, c, release)
			})
		}
		if err := c.b.Child.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		<-c.b.Child.Done()
	}
}

func newTerminal(t *testing.T, st *stage.Stage) *terminal {
	t.Helper()
	dir := t.TempDir()
	c := &terminal{st: st, path: dir + ":" + os.Getenv("PATH"), suspend: filepath.Join(dir, "suspended")}
	for name, program := range map[string]string{"backout": st.BackoutPath(), "helm": st.HelmPath()} {
		if err := os.Symlink(program, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "flux"), []byte("#!/bin/sh\necho \"$@\" >"+c.suspend+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return c
}

// run has a shell run the command, and returns what was printed.
func (c *terminal) run(t *testing.T, line string) string {
	t.Helper()
	shell := exec.CommandContext(limited(t), "/bin/sh", "-c", line)
	shell.Env = []string{"PATH=" + c.path, "KUBECONFIG=" + c.st.Sandbox.Kubeconfig(), "HOME=" + t.TempDir()}
	out, err := shell.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", line, err, out)
	}
	return "$ " + line + "\n" + string(out)
}

// deploy makes the next revision of a release: the stable track with v1, and the canary with that version, of which it gets 20%.
func (c *terminal) deploy(t *testing.T, release, version string, more ...string) {
	t.Helper()
	objects := more
	for _, track := range []struct{ suffix, name, version, annotations string }{
		{"", "stable", "v1", ""},
		{"-canary", "canary", version, `, annotations: {nginx.ingress.kubernetes.io/canary: "true", nginx.ingress.kubernetes.io/canary-weight: "20"}`},
	} {
		name := release + track.suffix
		objects = append(objects,
			strings.ReplaceAll(workload(name, track.version, 1, web(track.version, "")), "app: "+name, "app: "+release+", track: "+track.name),
			fmt.Sprintf("apiVersion: v1\nkind: Service\nmetadata: {name: %s}\nspec: {selector: {app: %s, track: %s}, ports: [{port: 80, targetPort: 5000}]}\n", name, release, track.name),
			fmt.Sprintf("apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: %[1]s%[2]s}\nspec: {rules: [{host: %[3]s.localhost, http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: %[1]s, port: {number: 80}}}}]}}]}\n",
				name, track.annotations, release))
	}
	upgrade(t, c.st, release, charted(t, objects...), "--wait")
}

// stopsAt waits until the record about a revision asks for help.
func (c *terminal) stopsAt(t *testing.T, release string, revision int) rollback.Record {
	t.Helper()
	return recordOf(t, c.b, release, revision, func(r rollback.Record) bool { return report.NeedsHelp(&r) })
}

func accusedFirst(t *testing.T, c *terminal, release string) rollback.Record {
	c.deploy(t, release, "v2")
	accuse(t, c.b, release, "v2", "rollback")
	return c.stopsAt(t, release, 1)
}

func accusedSecond(t *testing.T, c *terminal, release string) rollback.Record {
	c.deploy(t, release, "v2")
	c.deploy(t, release, "v3")
	accuse(t, c.b, release, "v3", "rollback")
	return c.stopsAt(t, release, 2)
}

func accusedLate(t *testing.T, c *terminal, release string) rollback.Record {
	c.deploy(t, release, "v2")
	c.deploy(t, release, "v3")
	time.Sleep(bake + time.Second)
	accuse(t, c.b, release, "v3", "rollback")
	return c.stopsAt(t, release, 2)
}

func accusedAgain(t *testing.T, c *terminal, release string) rollback.Record {
	c.deploy(t, release, "v2")
	c.deploy(t, release, "v3")
	accuse(t, c.b, release, "v3", "rollback")
	recordOf(t, c.b, release, 2, closed)
	c.deploy(t, release, "v4")
	accuse(t, c.b, release, "v4", "rollback")
	return c.stopsAt(t, release, 4)
}

func accusedOwn(t *testing.T, c *terminal, release string) rollback.Record {
	c.deploy(t, release, "v1")
	c.deploy(t, release, "v2")
	c.deploy(t, release, "v3")
	accuse(t, c.b, release, "v3", "rollback")
	recordOf(t, c.b, release, 3, closed)
	time.Sleep(settle + time.Second) // no alert of the revision before may be meant
	accuse(t, c.b, release, "v2", "rollback")
	return c.stopsAt(t, release, 4)
}

func withAHook(t *testing.T, c *terminal, release string) rollback.Record {
	c.deploy(t, release, "v2")
	c.deploy(t, release, "v3", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: migration, annotations: {helm.sh/hook: pre-upgrade}}\n")
	accuse(t, c.b, release, "v3", "rollback")
	return c.stopsAt(t, release, 2)
}

func ownedByFlux(t *testing.T, c *terminal, release string) rollback.Record {
	mark := "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: flux, labels: {helm.toolkit.fluxcd.io/name: shop, helm.toolkit.fluxcd.io/namespace: flux-system}}\n"
	c.deploy(t, release, "v2", mark)
	c.deploy(t, release, "v3", mark)
	accuse(t, c.b, release, "v3", "rollback")
	return c.stopsAt(t, release, 2)
}

func pausedBefore(t *testing.T, c *terminal, release string) rollback.Record {
	c.deploy(t, release, "v2")
	c.deploy(t, release, "v3")
	command(t, c.st, "pause", stage.Namespace+"/"+release, "--reason", "a migration")
	accuse(t, c.b, release, "v3", "rollback")
	return c.stopsAt(t, release, 2)
}

func withoutStable(t *testing.T, c *terminal, release string) rollback.Record {
	c.deploy(t, release, "v2")
	c.deploy(t, release, "v3")
	deployments := c.st.Client.AppsV1().Deployments(stage.Namespace)
	scale, err := deployments.GetScale(limited(t), release, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	scale.Spec.Replicas = 0
	if _, err := deployments.UpdateScale(limited(t), release, scale, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := c.st.AwaitRollout(limited(t)); err != nil {
		t.Fatal(err)
	}
	accuse(t, c.b, release, "v3", "shed")
	return c.stopsAt(t, release, 2)
}

func runsV1(t *testing.T, c *terminal, release string) { c.runs(t, release, "v1") }
func runsV2(t *testing.T, c *terminal, release string) { c.runs(t, release, "v2") }

// runs checks that the canary has that version and its weight.
func (c *terminal) runs(t *testing.T, release, version string) {
	t.Helper()
	name := release + "-canary"
	if got := containersOf(t, c.st, name); len(got) != 1 || got[0].Image != stage.StorefrontImage+":"+version {
		t.Errorf("the canary runs %+v, want %s", got, version)
	}
	c.hasWeight(t, name)
}

func (c *terminal) hasWeight(t *testing.T, ingress string) {
	t.Helper()
	i, err := c.st.Client.NetworkingV1().Ingresses(stage.Namespace).Get(limited(t), ingress, metav1.GetOptions{})
	if err != nil || i.Annotations[stage.WeightAnnotation] != "20" {
		t.Errorf("the canary's Ingress has %v, %v; want the weight 20", i.Annotations, err)
	}
}

// hasAHistory checks that the other command gives the canary its weight back: there is nothing to go back to.
func hasAHistory(t *testing.T, c *terminal, release string) {
	r := c.stopsAt(t, release, 1)
	all := report.Commands(&r)
	i := slices.IndexFunc(all, func(a report.Command) bool { return a.Line == r.UnholdCommand() })
	if i < 0 {
		t.Fatalf("no command gives the canary its weight back: %v", all)
	}
	c.run(t, all[i].Line.String())
	c.hasWeight(t, release+"-canary")
}

func isSuspended(t *testing.T, c *terminal, release string) {
	runsV2(t, c, release)
	if got, err := os.ReadFile(c.suspend); string(got) != "suspend helmrelease shop -n flux-system\n" {
		t.Errorf("flux was run with %q, %v", got, err)
	}
}

func isResumed(t *testing.T, c *terminal, release string) {
	accuse(t, c.b, release, "v3", "rollback") // Alertmanager repeats it
	recordOf(t, c.b, release, 2, restored)
	runsV2(t, c, release)
}
