package serve

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/upcommerce/backout/internal/version"
)

// kubeconfig writes a kubeconfig with two contexts and returns its path.
func kubeconfig(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "kubeconfig")
	text := `apiVersion: v1
kind: Config
current-context: blue
clusters:
- {name: blue, cluster: {server: "https://blue.example"}}
- {name: green, cluster: {server: "https://green.example"}}
contexts:
- {name: blue, context: {cluster: blue, user: operator, namespace: shop}}
- {name: green, context: {cluster: green, user: operator}}
users:
- {name: operator, user: {token: secret}}
`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestTheClusterIsFoundAsKubectlFindsIt(t *testing.T) {
	path := kubeconfig(t)
	for _, tt := range []struct {
		rule            string
		access          Access
		host, namespace string
	}{
		{"the current context and its namespace", Access{Kubeconfig: path}, "https://blue.example", "shop"},
		{"a named context; its namespace is default", Access{Kubeconfig: path, Context: "green"}, "https://green.example", "default"},
		{"backout's own namespace, if it is named", Access{Kubeconfig: path, Namespace: "backout"}, "https://blue.example", "backout"},
	} {
		in, err := FindCluster(tt.access)
		if err != nil || in.Config.Host != tt.host || in.Namespace != tt.namespace {
			t.Errorf("%s: got %+v, %v; want %s, namespace %s", tt.rule, in, err, tt.host, tt.namespace)
		}
	}
	if _, err := FindCluster(Access{Kubeconfig: path, Context: "red"}); err == nil {
		t.Error("a context that does not exist is an error")
	}
}

// The API server's audit log has the version that sent a request.
func TestRequestsNameTheVersion(t *testing.T) {
	in, err := FindCluster(Access{Kubeconfig: kubeconfig(t)})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := in.Config.UserAgent, "backout/"+version.Current().Version; got != want {
		t.Errorf("the User-Agent is %q, want %q", got, want)
	}
}
