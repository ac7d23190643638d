package cli

import (
	"bytes"
	"strings"
	"testing"

	"github.com/sethvargo/go-envconfig"
)

// runProgram runs the program with these arguments, the first of which is its path,
// without a cluster.
func runProgram(t *testing.T, input string, args ...string) (string, error) {
	t.Helper()
	t.Setenv("KUBECONFIG", t.TempDir()+"/none")
	t.Setenv("HOME", t.TempDir())
	cmd := New(envconfig.MapLookuper(nil), args)
	var out bytes.Buffer
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	cmd.SetIn(strings.NewReader(input))
	err := cmd.ExecuteContext(t.Context())
	return out.String(), err
}

func TestALinkMakesItAKubectlPlugin(t *testing.T) {
	for path, want := range map[string]string{
		"/usr/bin/backout": "backout explain NAMESPACE/RELEASE", "/usr/bin/kubectl-backout": "kubectl backout explain NAMESPACE/RELEASE",
	} {
		text, err := runProgram(t, "", path, "explain", "--help")
		if err != nil || !strings.Contains(text, want) {
			t.Errorf("as %s the usage contains %q: got %v %s", path, want, err, text)
		}
	}
	if text, err := runProgram(t, "", "kubectl-backout"); err != nil || !strings.Contains(text, "Usage:") {
		t.Errorf("a plugin without a command prints its help and does not serve: got %v %s", err, text)
	}
	text, err := runProgram(t, "", "kubectl_complete-backout", "ex")
	if err != nil || !strings.HasPrefix(text, "explain\t") {
		t.Errorf("the link that kubectl runs for completions completes: got %v %q", err, text)
	}
}

// Scripts and runbooks may still call unhold release.
func TestReleaseIsAnAliasOfUnhold(t *testing.T) {
	for _, path := range []string{"backout", "kubectl-backout"} {
		for _, command := range []string{"unhold", "release"} {
			_, err := runProgram(t, "", path, command, "shop")
			if err == nil || !strings.Contains(err.Error(), "want NAMESPACE/RELEASE") {
				t.Errorf("%s %s takes a release: got %v", path, command, err)
			}
		}
		text, err := runProgram(t, "", path, "--help")
		if err != nil || !strings.Contains(text, "\n  unhold ") || strings.Contains(text, "\n  release ") {
			t.Errorf("the help of %s lists unhold and not release: got %v\n%s", path, err, text)
		}
	}
}

// Every command explains itself on its help page, in lines that fit a terminal.
func TestEveryCommandHasAHelp(t *testing.T) {
	for _, c := range New(envconfig.MapLookuper(nil), []string{"backout"}).Commands() {
		if c.Short == "" || strings.HasSuffix(c.Short, ".") || len(c.Short) > 100 {
			t.Errorf("%s: the summary is a phrase without a full stop: %q", c.Name(), c.Short)
		}
		if c.Long != "" && !strings.HasSuffix(c.Long, ".") {
			t.Errorf("%s: the help is in whole sentences:\n%s", c.Name(), c.Long)
		}
		for text := range strings.Lines(c.Long + "\n" + c.Example) {
			if n := len(strings.TrimRight(text, "\n")); n > 100 {
				t.Errorf("%s: a line of the help has %d characters: %s", c.Name(), n, text)
			}
		}
	}
}
