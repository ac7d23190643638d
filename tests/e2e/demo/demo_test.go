package demo

import (
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/upcommerce/backout/tests/env/sandbox"
)

// contextName is the name of the context in a sandbox's kubeconfig.
const contextName = "sandbox"

// The whole story on a cluster that exists: the demo says where it writes before it writes,
// plays the story to its end, and leaves every object of the cluster as it was.
func TestTheStoryOnAClusterThatExists(t *testing.T) {
	t.Parallel()
	c := hold(t)
	before := c.snapshot(t)
	code, out := play(t, "", c.on(), "-context", contextName)
	if code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	contains(t, out, "cluster of context sandbox", c.RESTConfig().Host, "backout-demo and backout-demo-shop", c.router,
		"installing canary-demo", "v1 is stable", "v3 becomes the canary",
		"Timeline", "first bad request", "firing", "webhook", "record", "weight zero", "rolled back", "weight restored", "verified", "recovered",
		"Rollback to 1", "canary-weight: 20", "removing the namespaces")
	c.unchanged(t, before)
}

// A namespace with the name of one of the demo's own is not touched unless it is the demo's.
// KEEP leaves the namespaces, and the next demo removes them before it makes its own; it uses
// the Gateway API. An interrupted demo leaves nothing.
func TestTheDemoRemovesItsOwnNamespacesOnly(t *testing.T) {
	t.Parallel()
	c := hold(t)
	if err := c.GatewayAPI(t.Context()); err != nil {
		t.Fatal(err)
	}
	const foreign = "backout-demo-shop"
	c.makeNamespace(t, foreign)
	before := c.snapshot(t)
	code, out := play(t, "", c.on(), "-context", contextName)
	if code != 1 {
		t.Errorf("exit code %d with a foreign namespace of the same name, want 1", code)
	}
	contains(t, out, "namespace backout-demo-shop exists without the label backout.dev/demo=true", "delete it if you do not need it")
	c.unchanged(t, before)

	own := metav1.ObjectMeta{Name: foreign, Labels: map[string]string{"backout.dev/demo": "true"}}
	if _, err := c.client.CoreV1().Namespaces().Update(t.Context(), &corev1.Namespace{ObjectMeta: own}, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	code, out = play(t, "v1 is stable", c.on("KEEP=1"), "-context", contextName)
	if code != 130 {
		t.Errorf("exit code %d of an interrupted demo, want 130", code)
	}
	contains(t, out, "From an earlier demo", "delete namespace backout-demo backout-demo-shop", "still there")
	if names := c.namespaces(t); !slices.Equal(names, []string{"backout-demo", "backout-demo-shop"}) {
		t.Errorf("KEEP=1 leaves the namespaces %v", names)
	}

	code, out = play(t, "weight restored", c.on("GATEWAY="+sandbox.GatewayNamespace+"/"+sandbox.GatewayName), "-context", contextName)
	if code != 130 {
		t.Errorf("exit code %d of an interrupted demo, want 130", code)
	}
	contains(t, out, "From an earlier demo", "HTTPRoute canary-demo at the API server", "rolled back", "nothing is left behind")
	for name := range before {
		if strings.Contains(name, "/backout-demo") {
			delete(before, name)
		}
	}
	c.unchanged(t, before)
}

// Without a context the demo opens a sandbox, whatever KUBECONFIG says.
func TestAKubeconfigAloneChoosesNoCluster(t *testing.T) {
	t.Parallel()
	var requests atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { requests.Add(1) }))
	t.Cleanup(server.Close)
	env := []string{"KUBECONFIG=" + kubeconfig(t, server.URL), "CONTEXT=production"}
	code, out := play(t, "waiting for the pods", env)
	if code != 130 {
		t.Errorf("exit code %d of an interrupted demo, want 130", code)
	}
	contains(t, out, "CONTEXT chooses no cluster", "starting API server", "installing canary-demo")
	if n := requests.Load(); n != 0 {
		t.Errorf("the cluster of KUBECONFIG got %d requests, want none", n)
	}

	// A context that does not exist is an error before the first request.
	code, out = play(t, "", env, "-context", "producton")
	if code != 1 || requests.Load() != 0 {
		t.Errorf("exit code %d and %d requests for a context that does not exist, want 1 and none", code, requests.Load())
	}
	contains(t, out, `context "producton"`, "there are: production, staging")
}

// kubeconfig writes a kubeconfig with two contexts.
func kubeconfig(t *testing.T, server string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "kubeconfig")
	text := `{apiVersion: v1, kind: Config, current-context: production, clusters: [{name: c, cluster: {server: "` + server + `"}}],
users: [{name: u, user: {token: t}}], contexts: [{name: production, context: {cluster: c, user: u}}, {name: staging, context: {cluster: c, user: u}}]}`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// make chooses a cluster by CONTEXT on its command line only.
func TestMakeTakesTheContextFromItsCommandLine(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, argument string
		want           bool
	}{
		{"without", "", false},
		{"on the command line", "CONTEXT=kind-kind", true},
		{"on the command line, empty", "CONTEXT=", true},
	} {
		args := strings.Fields("--no-print-directory --dry-run demo " + tt.argument)
		cmd := exec.CommandContext(t.Context(), "make", args...)
		cmd.Dir = filepath.Join("..", "..", "..")
		cmd.Env = append(slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "MAKE") }), "KUBECONFIG=/production", "CONTEXT=production")
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("make %s: %v", tt.argument, err)
		}
		if got := strings.Contains(string(out), "-context"); got != tt.want {
			t.Errorf("%s: make demo names a context: %t, want %t:\n%s", tt.name, got, tt.want, out)
		}
	}
}
