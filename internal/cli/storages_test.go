package cli

import (
	"bytes"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/sethvargo/go-envconfig"
)

// A command searches a release where the operator's environment says that Helm stores it, and else in both storages.
func TestCommandsSearchHelmsStorages(t *testing.T) {
	var mu sync.Mutex
	searched := make(map[string]bool)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch {
		case strings.HasSuffix(q.URL.Path, "/selfsubjectreviews"):
			_, _ = io.WriteString(w, `{"kind":"SelfSubjectReview","apiVersion":"authentication.k8s.io/v1","status":{"userInfo":{"username":"jane"}}}`)
		case strings.Contains(q.URL.Query().Get("labelSelector"), "owner=helm"):
			mu.Lock()
			searched[path.Base(q.URL.Path)] = true
			mu.Unlock()
			_, _ = io.WriteString(w, `{"kind":"PartialObjectMetadataList","apiVersion":"meta.k8s.io/v1","metadata":{},"items":[]}`)
		default:
			_, _ = io.WriteString(w, `{"kind":"ConfigMapList","apiVersion":"v1","metadata":{},"items":[]}`)
		}
	}))
	defer server.Close()
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	text := "apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts:\n- {name: c, context: {cluster: c, user: u}}\n" +
		"clusters:\n- {name: c, cluster: {server: \"" + server.URL + "\"}}\nusers:\n- {name: u, user: {}}\n"
	if err := os.WriteFile(kubeconfig, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		env    map[string]string
		option string
		want   []string
	}{
		{nil, "", []string{"configmaps", "secrets"}},
		{map[string]string{"HELM_DRIVER": "configmap"}, "", []string{"configmaps"}},
		{map[string]string{"HELM_DRIVER": "configmap", "BACKOUT_HELM_DRIVER": "secret"}, "", []string{"secrets"}},
		{map[string]string{"HELM_DRIVER": "configmap"}, "--helm-driver=secret,configmap", []string{"configmaps", "secrets"}},
		{map[string]string{"HELM_DRIVER": "sql"}, "", nil},
	} {
		for _, command := range []string{"rollback", "hold", "unhold"} {
			clear(searched)
			args := []string{"backout", command, "shop/web", "--kubeconfig", kubeconfig}
			if c.option != "" {
				args = append(args, c.option)
			}
			cmd := New(envconfig.MapLookuper(c.env), args)
			var out bytes.Buffer
			cmd.SetOut(&out)
			cmd.SetErr(&out)
			err := cmd.ExecuteContext(t.Context())
			if got := slices.Sorted(maps.Keys(searched)); !slices.Equal(got, c.want) {
				t.Errorf("%s with %v %s searches %v, want %v", command, c.env, c.option, got, c.want)
			}
			if want := "no such Helm release"; c.want != nil && (err == nil || !strings.Contains(err.Error(), want)) {
				t.Errorf("%s with %v: got %v, want an error that says %q", command, c.env, err, want)
			}
			if c.want == nil && (err == nil || !strings.Contains(err.Error(), "--helm-driver") || !strings.Contains(err.Error(), "SQL")) {
				t.Errorf("%s with %v: got %v, want an error that names SQL", command, c.env, err)
			}
		}
	}
}
