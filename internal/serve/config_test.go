package serve

import (
	"fmt"
	"log/slog"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/sethvargo/go-envconfig"

	"github.com/upcommerce/backout/handler"
	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/ledger"
	"github.com/upcommerce/backout/rollback/notify"
)

// load reads the configuration from these variables.
func load(t *testing.T, env map[string]string) (config, error) {
	t.Helper()
	return loadConfig(t.Context(), envconfig.MapLookuper(env))
}

func TestTheDefaultsOfTheConfiguration(t *testing.T) {
	got, err := load(t, map[string]string{"BACKOUT_TOKENS": "*:/run/token"})
	if err != nil {
		t.Fatalf("only a token file has to be set: %v", err)
	}
	want := config{
		Policy: rollback.Policy{
			Mode: rollback.ModeAct, Track: rollback.Track{Label: "track", Canary: []string{"canary"}}, Settle: 7 * time.Minute, Cooldown: 10 * time.Minute, Bake: 24 * time.Hour,
			OperationLimit: time.Hour, RollbackTimeout: 5 * time.Minute,
			ConfirmLimit: 2 * time.Minute, Repeat: 6 * time.Minute, StormReleases: 5, StormWindow: 10 * time.Minute, MaxLoad: 2,
			Verify: 2 * time.Minute, VerifyLimit: 10 * time.Minute, TrafficFloor: 0.1,
			KeepRecords: 10, KeepRecordsFor: 90 * 24 * time.Hour,
			Windows: map[string]time.Duration{
				"CanaryErrorRatio":   3 * time.Minute,
				"CanaryLatency":      3 * time.Minute,
				"CanaryLatencyTail":  3 * time.Minute,
				"CanaryCrashLooping": 3 * time.Minute,
				"CanaryImagePull":    4 * time.Minute,
				"CanaryNotReady":     3 * time.Minute,
				"CanarySilent":       3 * time.Minute,
				"CanaryUnreachable":  3 * time.Minute,
			},
		},
		Helm:  HelmConfig{Drivers: []string{"secret"}},
		Lease: ledger.LeaseConfig{Duration: 6 * time.Second, Renew: 4 * time.Second, Retry: 500 * time.Millisecond},
		HTTP: handler.Config{
			Listen: ":8080", OpsListen: ":9090", Auth: handler.AuthBearer, OpsAuth: handler.OpsAuthNone, Tokens: handler.Tokens{"*": {"/run/token"}},
			MaxBody: 1 << 20, ReadTimeout: 5 * time.Second, StoreTimeout: 8 * time.Second,
		},
		Notify: notify.Config{SlackAPIURL: "https://slack.com/api/", Events: true},

		Log:        logConfig{Level: slog.LevelInfo, Format: "json"},
		RecordKeys: "backout-record-keys",
		Grace:      25 * time.Second,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the defaults are those of docs/configuration.md (-want +got):\n%s", diff)
	}
	if got.Policy.Allows(rollback.Key{Namespace: "default", Release: "shop"}) {
		t.Error("by default no release may be touched")
	}
}

func TestNoConfigurationForgetsAuthentication(t *testing.T) {
	_, err := load(t, nil)
	if err == nil || !strings.Contains(err.Error(), "BACKOUT_TOKENS is not set") {
		t.Errorf("without a token file, only BACKOUT_AUTH=none starts backout: got %v", err)
	}
	if _, err := load(t, map[string]string{"BACKOUT_AUTH": "none"}); err != nil {
		t.Errorf("BACKOUT_AUTH=none starts backout without a token file: %v", err)
	}
}

func TestVariablesSetTheConfiguration(t *testing.T) {
	got, err := load(t, map[string]string{
		"BACKOUT_TOKENS":      "*:/run/token",
		"BACKOUT_RELEASES":    "canary-demo/*, shop/web ,shop/api",
		"BACKOUT_MODE":        "observe",
		"BACKOUT_CLUSTER":     "blue",
		"BACKOUT_SETTLE":      "90s",
		"BACKOUT_LOG_LEVEL":   "debug",
		"BACKOUT_LISTEN":      "127.0.0.1:8081",
		"BACKOUT_TRACK_LABEL": "example.com/role=canary, preview",
		"RELEASES":            "other/*",
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"canary-demo/*", "shop/web", "shop/api"}, got.Policy.Releases); diff != "" {
		t.Errorf("the entries of a list are separated by commas, and spaces around them are ignored (-want +got):\n%s", diff)
	}
	if got.Policy.Mode != rollback.ModeObserve || got.Policy.Cluster != "blue" || got.Policy.Settle != 90*time.Second ||
		got.Log.Level != slog.LevelDebug || got.HTTP.Listen != "127.0.0.1:8081" || got.Policy.Track.String() != "example.com/role=canary,preview" {
		t.Errorf("the configuration has the values of the variables: got %+v", got)
	}
}

// Charts and compose files set variables to the empty string.
func TestAVariableMayBeEmpty(t *testing.T) {
	got, err := load(t, map[string]string{"BACKOUT_TOKENS": "*:/run/token", "BACKOUT_RELEASES": "", "BACKOUT_CLUSTER": "", "BACKOUT_TRACK_LABEL": ""})
	if err != nil {
		t.Fatalf("a list and a name may be empty: %v", err)
	}
	if len(got.Policy.Releases) != 0 || got.Policy.Cluster != "" {
		t.Errorf("empty is empty: got %q, %q", got.Policy.Releases, got.Policy.Cluster)
	}
	if got.Policy.Track.String() != "track=canary" {
		t.Errorf("the track label has its default: got %s", got.Policy.Track)
	}
}

func TestTheErrorListsEveryMistake(t *testing.T) {
	for _, c := range []struct {
		mistakes string
		env      map[string]string
		want     []string
	}{
		{
			"values that cannot be parsed",
			map[string]string{
				"BACKOUT_SETTLE": "seven minutes", "BACKOUT_MAX_BODY_BYTES": "1Mi", "BACKOUT_GRACE": "25",
				"BACKOUT_LOG_LEVEL": "loud", "BACKOUT_BAKE": "1d", "BACKOUT_TRACK_LABEL": "role",
			},
			[]string{
				`BACKOUT_SETTLE="seven minutes"`, `BACKOUT_MAX_BODY_BYTES="1Mi"`, `BACKOUT_GRACE="25"`,
				`BACKOUT_LOG_LEVEL="loud"`, `BACKOUT_BAKE="1d"`,
				`BACKOUT_TRACK_LABEL="role"`,
			},
		},
		{
			"values that are not allowed",
			map[string]string{
				"BACKOUT_MODE": "dry-run", "BACKOUT_RELEASES": "*/shop,shop,ok/*", "BACKOUT_AUTH": "basic", "BACKOUT_LISTEN": "8080",
				"BACKOUT_GRACE": "0s", "BACKOUT_LOG_FORMAT": "yaml", "BACKOUT_COOLDOWN": "-1s", "BACKOUT_MAX_BODY_BYTES": "0",
				"BACKOUT_TLS_KEY_FILE": "/tls.key", "BACKOUT_HELM_DRIVER": "secret,sql",
			},
			[]string{
				`BACKOUT_MODE="dry-run"`, `BACKOUT_RELEASES: "*/shop"`, `BACKOUT_RELEASES: "shop"`, `BACKOUT_AUTH="basic"`,
				`BACKOUT_LISTEN="8080"`, "BACKOUT_GRACE=0s", `BACKOUT_LOG_FORMAT="yaml"`, "BACKOUT_COOLDOWN=-1s",
				"BACKOUT_MAX_BODY_BYTES=0", "BACKOUT_TLS_CERT_FILE", `BACKOUT_HELM_DRIVER="sql": backout cannot read releases that Helm stores in SQL`,
			},
		},
	} {
		_, err := load(t, c.env)
		if err == nil {
			t.Errorf("%s: a wrong configuration is refused", c.mistakes)
			continue
		}
		for _, want := range c.want {
			if n := strings.Count(err.Error(), want); n != 1 {
				t.Errorf("%s: the error lists every mistake once, by its variable: it contains %s %d times:\n%v", c.mistakes, want, n, err)
			}
		}
		if strings.Contains(err.Error(), "%!") || strings.Contains(err.Error(), "nil") {
			t.Errorf("%s: the error is in words:\n%v", c.mistakes, err)
		}
	}
}

func TestATokenIsConfirmedByServersThatAreConfigured(t *testing.T) {
	for _, c := range []struct{ tokens, servers, want string }{
		{"*:/run/token:grafana", "", "a token is confirmed by grafana, which needs BACKOUT_GRAFANA_URLS"},
		{"*:/run/token:prometheus", "GRAFANA", "a token is confirmed by prometheus, which needs BACKOUT_PROMETHEUS_URLS"},
		{"*:/run/token:grafana", "GRAFANA", ""},
		{"*:/run/token:none", "", ""},
		{"*:/run/token", "", ""},
	} {
		_, err := load(t, map[string]string{"BACKOUT_TOKENS": c.tokens, "BACKOUT_" + c.servers + "_URLS": "http://server:3000"})
		if (err != nil) != (c.want != "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("BACKOUT_TOKENS=%s with the servers of %q: got %v, want %q", c.tokens, c.servers, err, c.want)
		}
	}
}

func TestHelmsDriver(t *testing.T) {
	for value, want := range map[string][]rollback.Storage{
		"": {rollback.Secrets}, "secret": {rollback.Secrets}, "configmap": {rollback.ConfigMaps}, "configmap,secret": {rollback.Secrets, rollback.ConfigMaps},
	} {
		c, err := load(t, map[string]string{"BACKOUT_TOKENS": "*:/run/token", "BACKOUT_HELM_DRIVER": value})
		if err != nil {
			t.Fatalf("BACKOUT_HELM_DRIVER=%q: %v", value, err)
		}
		if got, err := c.Helm.Storages(); err != nil || !slices.Equal(got, want) {
			t.Errorf("BACKOUT_HELM_DRIVER=%q is %v: got %v, %v", value, want, got, err)
		}
	}
}

// The table of docs/configuration.md and the reading of the environment rely on this.
func TestEveryFieldIsAVariable(t *testing.T) {
	seen := make(map[string]bool)
	all := variables(reflect.ValueOf(&config{}).Elem())
	for _, v := range all {
		if !strings.HasPrefix(v.name, "BACKOUT_") || strings.ToUpper(v.name) != v.name || strings.ContainsAny(v.name, " =") {
			t.Errorf("%s: the name of a variable is in capitals and has the prefix", v.name)
		}
		if seen[v.name] {
			t.Errorf("%s: a variable sets one field", v.name)
		}
		seen[v.name] = true
		if v.description == "" || !strings.HasSuffix(v.description, ".") || strings.ContainsAny(v.description, "\n|") {
			t.Errorf("%s: every variable has a desc tag with whole sentences that fit into a table: got %q", v.name, v.description)
		}
	}
	if n := countFields(reflect.TypeFor[config]()); n != len(all) {
		t.Errorf("every field has an env tag: %d fields, %d variables", n, len(all))
	}
}

// countFields counts the fields of a struct and of the structs in it.
func countFields(s reflect.Type) int {
	n := 0
	for field := range s.Fields() {
		f := field.Type
		if _, ok := field.Tag.Lookup("env"); !ok && f.Kind() == reflect.Struct {
			n += countFields(f)
			continue
		}
		n++
	}
	return n
}

// configurationPage has the table of all variables.
const configurationPage = "../../docs/configuration.md"

// TestConfigurationPage compares the table of docs/configuration.md with the structs.
// UPDATE=1 rewrites the table.
func TestConfigurationPage(t *testing.T) {
	const begin, end = "<!-- configuration -->", "<!-- /configuration -->"
	text, err := os.ReadFile(configurationPage)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(text), begin)
	shown, after, closed := strings.Cut(rest, end)
	if !found || !closed {
		t.Fatalf("docs/configuration.md has no table between %s and %s", begin, end)
	}
	want := "\n\n" + variableTable(variables(reflect.ValueOf(&config{}).Elem())) + "\n"
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(configurationPage, []byte(before+begin+want+end+after), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want, shown); diff != "" {
		t.Errorf("docs/configuration.md is generated from the structs; UPDATE=1 rewrites it (-structs +page):\n%s", diff)
	}
}

// variableTable returns the variables as a table in Markdown.
func variableTable(all []variable) string {
	var b strings.Builder
	b.WriteString("| variable | default | meaning |\n|---|---|---|\n")
	for _, v := range all {
		fallback := ""
		if v.fallback != "" {
			fallback = "`" + v.fallback + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", v.name, fallback, v.description)
	}
	return b.String()
}
