// Package guide runs the commands of docs/upcommerce.md, exactly as they are written there, on a sandbox.
package guide

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/dynamic"

	"github.com/upcommerce/backout/tests/env/programs"
	"github.com/upcommerce/backout/tests/env/sandbox"
	"github.com/upcommerce/backout/tests/env/stage"
)

// patience bounds one block: the longest ones wait for an alert, or compile tests.
const patience = 3 * time.Minute

// repository returns the directory in which the page's commands run.
func repository(t *testing.T) string {
	t.Helper()
	root, err := filepath.Abs(filepath.Join("..", "..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// read returns the page and its blocks.
func read(t *testing.T) (path, text string, blocks []block) {
	t.Helper()
	path = filepath.Join(repository(t), "docs", "upcommerce.md")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	blocks, err = readBlocks(string(b))
	if err != nil {
		t.Fatalf("docs/upcommerce.md: %v", err)
	}
	return path, string(b), blocks
}

// Every block has a mark that says whether it is run, and the page lists those that are not. UPDATE=1 writes the list.
func TestEveryBlockIsMarked(t *testing.T) {
	path, text, blocks := read(t)
	want, err := withList(text, blocks)
	if err != nil {
		t.Fatal(err)
	}
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(path, []byte(want), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if text != want {
		t.Errorf("the page's list differs from its blocks; UPDATE=1 rewrites it. Want:\n%s", list(blocks))
	}
}

// bash can parse every block, also those that are not run.
func TestEveryBlockIsBash(t *testing.T) {
	_, _, blocks := read(t)
	for _, b := range blocks {
		cmd := exec.CommandContext(t.Context(), "bash", "-n")
		cmd.Stdin = strings.NewReader(b.commands + "\n")
		// A heredoc that does not end is a warning.
		if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("docs/upcommerce.md, line %d: %v\n%s", b.line, err, out)
		}
	}
}

func TestWrongPagesAreRefused(t *testing.T) {
	for _, tt := range []struct{ name, page, want string }{
		{"no mark", "Text.\n\n    ls\n", "line 3: a block without a mark"},
		{"no reason", "<!-- not run here: -->\n\n    ls\n", "line 3: a block without a mark"},
		{"a fence", "<!-- run -->\n\n```\nls\n```\n", "line 3: a fence"},
		{"a mark without a block", "<!-- run -->\n\nText.\n", "line 3: the mark before it has no block"},
		{"two marks", "<!-- run -->\n<!-- run -->\n\n    ls\n", "line 2: a mark after a mark"},
		{"a mark at the end", "<!-- run -->\n", "the mark before it has no block"},
		{"output without a block", "<!-- prints -->\n\n    x\n", "line 3: the block before this output is not run"},
		{"output of a block that is not run", "<!-- not run here: no -->\n\n    ls\n\n<!-- prints -->\n\n    x\n", "line 7: the block before this output is not run"},
	} {
		if _, err := readBlocks(tt.page); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want one that contains %q", tt.name, err, tt.want)
		}
	}
}

func TestOutputHasTheWantedLinesInOrder(t *testing.T) {
	output := "one: 1\n  2  two\nthree\n"
	for _, tt := range []struct {
		wanted []string
		want   string
	}{
		{[]string{"one: ...", "... two"}, ""},
		{[]string{"three"}, ""},
		{[]string{"... two", "one: ..."}, "one: ..."},
		{[]string{"one: 2"}, "one: 2"},
		{[]string{"tw"}, "tw"},
	} {
		if got := missing(output, tt.wanted); got != tt.want {
			t.Errorf("of %q, %q is missing, want %q", tt.wanted, got, tt.want)
		}
	}
}

// The page's commands work in the page's order, and print what the page shows.
func TestThePageRuns(t *testing.T) {
	_, _, blocks := read(t)
	st := stage.Start(t)
	objects, err := dynamic.NewForConfig(st.Sandbox.RESTConfig())
	if err != nil {
		t.Fatal(err)
	}
	o := &operator{Stage: st, objects: objects}
	bash := startShell(t, repository(t), environment(t, st))
	define := "kubectl apply -f - <<'END'\n" + definitions() + "\nEND\nkubectl wait --for=condition=Established crd --all"
	if out, err := bash.run(t.Context(), define); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if err := st.Sandbox.GatewayAPI(t.Context()); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	for _, b := range blocks {
		if b.why == "" {
			runBlock(t, bash, b)
			o.reconcile(t.Context(), t)
		}
	}
	t.Logf("the page took %.1f s", time.Since(began).Seconds())
}

// empty matches a printed name without a number, which is an empty answer of Prometheus.
var empty = regexp.MustCompile(`(?m)^[a-z_.]+: ?(\{.*|NaN)?$`)

func runBlock(t *testing.T, bash *shell, b block) {
	t.Helper()
	ctx, cancel := context.WithTimeoutCause(t.Context(), patience, fmt.Errorf("it took longer than %s", patience))
	defer cancel()
	began := time.Now()
	printed, err := bash.run(ctx, b.commands)
	t.Logf("line %d, %.1f s:\n%s\n%s", b.line, time.Since(began).Seconds(), b.commands, printed)
	if err != nil {
		t.Fatalf("docs/upcommerce.md, line %d: %v", b.line, err)
	}
	if line := missing(printed, b.prints); line != "" {
		t.Errorf("docs/upcommerce.md, line %d: the output lacks %q where the page shows it", b.line, line)
	}
	// The sandbox's router writes no address into an Ingress; the page says so.
	for _, line := range empty.FindAllString(printed, -1) {
		if !strings.HasPrefix(line, "ingress_details.address:") {
			t.Errorf("docs/upcommerce.md, line %d: no number: %s", b.line, line)
		}
	}
}

// environment returns what the blocks that are not run would set up: the programs, the cluster, and the page's variables.
func environment(t *testing.T, st *stage.Stage) []string {
	t.Helper()
	bin, home := t.TempDir(), t.TempDir()
	kubectl, err := programs.Build(t.Context(), programs.Kubectl(), func(text string) { t.Log(text) })
	if err != nil {
		t.Fatal(err)
	}
	for name, path := range map[string]string{"kubectl": kubectl, "helm": st.HelmPath(), "backout": st.BackoutPath()} {
		if err := os.Symlink(path, filepath.Join(bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := exec.LookPath("curl"); err != nil {
		t.Fatalf("%v; the page's commands need it: apt-get install curl", err)
	}
	router, errRouter := st.Sandbox.RouterURL(t.Context())
	prometheus, errPrometheus := st.Sandbox.Forward(t.Context(), prometheusAddress())
	if err := errors.Join(errRouter, errPrometheus); err != nil {
		t.Fatal(err)
	}
	return append(os.Environ(),
		"PATH="+bin+":"+os.Getenv("PATH"), "KUBECONFIG="+st.Sandbox.Kubeconfig(), "KUBECACHEDIR="+home,
		"HELM_CACHE_HOME="+home, "HELM_CONFIG_HOME="+home, "HELM_DATA_HOME="+home,
		"UPCOMMERCE_URL="+router, "UPCOMMERCE_HOST=canary-demo.local", "UPCOMMERCE_IMAGE="+stage.StorefrontImage,
		"UPCOMMERCE_PROMETHEUS=http://"+prometheus, "PROMETHEUS_INSIDE=http://"+prometheusAddress(), "GATEWAY="+sandbox.GatewayName,
	)
}
