package scenarios

import (
	"bytes"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"github.com/upcommerce/backout/tests/env/stage"
)

// Deliveries that backout refuses or ignores get the right status, and change nothing.
func TestRefusedDeliveriesTouchNothing(t *testing.T) {
	t.Parallel()
	st := open(t)
	b := backout(t, st, 0, map[string]string{"BACKOUT_CLUSTER": "production", "BACKOUT_RELEASES": stage.Namespace + "/canary-*"})
	before := look(t, st)
	here := func(changes map[string]string) []byte {
		all := map[string]string{"cluster": "production"}
		maps.Copy(all, changes)
		return payload(t, labels(all))
	}
	valid := here(nil)
	for _, c := range []struct {
		name  string
		token string
		body  []byte
		code  int
	}{
		{"no token", "", valid, http.StatusUnauthorized},
		{"a wrong token", "guess", valid, http.StatusUnauthorized},
		{"an empty token", " ", valid, http.StatusUnauthorized},
		{"invalid JSON", stage.Token, []byte("alert!"), http.StatusBadRequest},
		{"a payload of another version", stage.Token, bytes.Replace(valid, []byte(`"version":"4"`), []byte(`"version":"3"`), 1), http.StatusBadRequest},
		{"a custom payload", stage.Token, []byte(`{"text":"CanaryErrors is firing"}`), http.StatusBadRequest},
		{"bytes after the payload", stage.Token, append(bytes.Clone(valid), []byte("{}")...), http.StatusBadRequest},
		{"more than 1 MiB", stage.Token, append(bytes.Clone(valid), bytes.Repeat([]byte(" "), 1<<20)...), http.StatusRequestEntityTooLarge},
		{"a release that does not exist", stage.Token, here(map[string]string{"release": "canary-shop"}), http.StatusOK},
		{"a release that is not opted in", stage.Token, here(map[string]string{"release": "shop"}), http.StatusOK},
		{"a namespace that is not opted in", stage.Token, here(map[string]string{"namespace": "kube-system"}), http.StatusOK},
		{"another cluster", stage.Token, here(map[string]string{"cluster": "staging"}), http.StatusOK},
		{"no cluster", stage.Token, payload(t, labels(nil)), http.StatusOK},
		{"no backout label", stage.Token, here(map[string]string{"backout": ""}), http.StatusOK},
		{"an unknown level", stage.Token, here(map[string]string{"backout": "delete"}), http.StatusOK},
		{"a path as namespace", stage.Token, here(map[string]string{"namespace": "../../" + stage.Namespace}), http.StatusOK},
		{"a glob as release", stage.Token, here(map[string]string{"release": "canary-*"}), http.StatusOK},
		{"a selector as release", stage.Token, here(map[string]string{"release": "canary-demo,owner!=helm"}), http.StatusOK},
		{"a line break in a label", stage.Token, here(map[string]string{"release": "canary-demo\nowner: root"}), http.StatusOK},
		{"a huge label", stage.Token, here(map[string]string{"release": "canary-" + strings.Repeat("x", 100_000)}), http.StatusOK},
		{"a revision that is not a number", stage.Token, here(map[string]string{"revision": "two"}), http.StatusOK},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, text := post(t, b, c.token, c.body)
			if code != c.code {
				t.Errorf("answered %d (%s), want %d", code, text, c.code)
			}
			if after := look(t, st); !reflect.DeepEqual(after, before) {
				t.Errorf("a refused delivery changed the cluster:\nbefore %+v\nafter  %+v", before, after)
			}
		})
	}
	// backout still works: it acts on a valid delivery.
	if code, text := post(t, b, stage.Token, valid); code != http.StatusOK {
		t.Errorf("the valid delivery was answered %d: %s", code, text)
	}
	record(t, b, 2, rolledBack)
	_, metrics, err := b.Get(limited(t), "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	for series, want := range map[string]int{
		`backout_alerts_total{verdict="act"}`:             1,
		`backout_alerts_total{verdict="unknown-release"}`: 1,
		`backout_alerts_total{verdict="not-allowed"}`:     11,
		`backout_webhook_requests_total{code="401"}`:      3,
		`backout_webhook_requests_total{code="413"}`:      1,
	} {
		if line := fmt.Sprintf("%s %d\n", series, want); !strings.Contains(metrics, line) {
			t.Errorf("metrics lack %q", line)
		}
	}
}
