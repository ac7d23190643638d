package dashboards_test

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/upcommerce/backout/dashboards"
	"github.com/upcommerce/backout/rules"
)

func all(t *testing.T) map[string]dashboards.Dashboard {
	t.Helper()
	all, err := dashboards.All()
	if err != nil || len(all) != 2 {
		t.Fatalf("%d dashboards, want two: %v", len(all), err)
	}
	return all
}

// Grafana's sidecar can provision every dashboard in any Grafana, and an upgrade of the chart replaces it.
func TestDashboardsAreProvisionable(t *testing.T) {
	uids := map[string]string{"canary-health": "backout-canary-health", "backout-operations": "backout-operations"}
	for name, d := range all(t) {
		if d.UID != uids[name] {
			t.Errorf("%s has the uid %q, want %q: links in messages name it", name, d.UID, uids[name])
		}
		if d.SchemaVersion < 39 || d.SchemaVersion > 42 {
			t.Errorf("%s: schemaVersion %d, want the classic 39 to 42", name, d.SchemaVersion)
		}
		if d.Editable || d.GraphTooltip != 1 || d.Refresh != "10s" {
			t.Errorf("%s: editable %v, graphTooltip %d, refresh %s; want false, 1 for a shared crosshair, 10s", name, d.Editable, d.GraphTooltip, d.Refresh)
		}
		if v := d.Templating.List[0]; v.Name != "datasource" || v.Type != "datasource" || string(v.Query) != `"prometheus"` {
			t.Errorf("%s: the first variable must be the data source: %+v", name, v)
		}
		a := d.Annotations.List
		if len(a) != 1 || !a[0].Enable || !a[0].UseValueForTime || !strings.HasPrefix(a[0].Expr, "backout_last_rollback_timestamp_seconds{") || !strings.HasSuffix(a[0].Expr, "} * 1000") {
			t.Errorf("%s: rollbacks must be annotations, with their value as the time: %+v", name, a)
		}
	}
}

func TestPanelsDoNotOverlapAndAreExplained(t *testing.T) {
	kinds := []string{"stat", "timeseries", "state-timeline", "heatmap", "table"}
	for name, d := range all(t) {
		ids, cells := map[int]bool{}, map[[2]int]string{}
		for _, p := range d.Panels {
			at := fmt.Sprintf("%s, panel %d %q", name, p.ID, p.Title)
			if p.ID == 0 || ids[p.ID] {
				t.Errorf("%s: the id is a duplicate, or 0", at)
			}
			ids[p.ID] = true
			if g := p.GridPos; g.X < 0 || g.X+g.W > 24 || g.W < 1 || g.H < 1 {
				t.Errorf("%s: outside of 24 columns: %+v", at, g)
			}
			for x := range p.GridPos.W {
				for y := range p.GridPos.H {
					cell := [2]int{p.GridPos.X + x, p.GridPos.Y + y}
					if other, taken := cells[cell]; taken {
						t.Fatalf("%s overlaps %s", at, other)
					}
					cells[cell] = at
				}
			}
			if !slices.Contains(kinds, p.Type) || p.Title == "" || !strings.HasSuffix(p.Description, ".") || p.FieldConfig.Defaults.Unit == "" {
				t.Errorf("%s: it needs a known type, a description in sentences and a unit: %s, %q, %q", at, p.Type, p.Description, p.FieldConfig.Defaults.Unit)
			}
			checkTargets(t, at, p)
		}
	}
}

func checkTargets(t *testing.T, at string, p dashboards.Panel) {
	t.Helper()
	if len(p.Targets) == 0 {
		t.Errorf("%s has no query", at)
	}
	refs := map[string]bool{}
	for _, q := range p.Targets {
		if refs[q.RefID] || q.RefID == "" {
			t.Errorf("%s: refId %q is a duplicate, or empty", at, q.RefID)
		}
		refs[q.RefID] = true
		if want := (dashboards.DataSource{Type: "prometheus", UID: "${datasource}"}); q.DataSource != want || p.DataSource != want {
			t.Errorf("%s: the data source is %+v and %+v, not the variable", at, p.DataSource, q.DataSource)
		}
		if regexp.MustCompile(`\[\d`).MatchString(q.Expr) && !strings.Contains(q.Expr, "backout_watchdogs_total[15m]") {
			t.Errorf("%s: a fixed range is too short for some scrape interval: use $__rate_interval\n%s", at, q.Expr)
		}
		if q.Instant != (p.Type == "stat" || p.Type == "table") {
			t.Errorf("%s: stats and tables, and only they, must have instant queries", at)
		}
	}
}

// expressions are all queries of a dashboard, including those of variables and annotations.
func expressions(t *testing.T, d dashboards.Dashboard) []string {
	t.Helper()
	var all []string
	for _, p := range d.Panels {
		for _, q := range p.Targets {
			all = append(all, q.Expr)
		}
	}
	for _, a := range d.Annotations.List {
		all = append(all, a.Expr)
	}
	for _, v := range d.Templating.List {
		if v.Type != "query" {
			continue
		}
		var query struct{ Query, RefID string }
		if err := json.Unmarshal(v.Query, &query); err != nil || query.Query != v.Definition {
			t.Errorf("variable %s: its query and its definition differ, or it has none: %v", v.Name, err)
		}
		inner := regexp.MustCompile(`^label_values\((.*), \w+\)$`).FindStringSubmatch(v.Definition)
		if inner == nil {
			t.Fatalf("variable %s: %s is not label_values", v.Name, v.Definition)
		}
		all = append(all, inner[1])
	}
	return all
}

func TestVariablesAreDefinedAndUsed(t *testing.T) {
	for name, d := range all(t) {
		known := []string{"__rate_interval", "__range"}
		var used []string
		for _, v := range d.Templating.List {
			known = append(known, v.Name)
		}
		for _, expr := range expressions(t, d) {
			for _, v := range dashboards.Variables(expr) {
				used = append(used, v)
				if !slices.Contains(known, v) {
					t.Errorf("%s: $%s is not defined: %s", name, v, expr)
				}
			}
		}
		for _, v := range d.Templating.List[1:] {
			if !slices.Contains(used, v.Name) {
				t.Errorf("%s: $%s is not used", name, v.Name)
			}
		}
	}
}

// metrics returns the known metrics: those that the rules record for every source, backout's own, and the others in README.md.
func metrics(t *testing.T) map[string]bool {
	t.Helper()
	known := map[string]bool{"ALERTS": true}
	file, err := rules.Assemble(rules.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var read struct {
		Groups []struct{ Rules []struct{ Record string } }
	}
	if err := yaml.Unmarshal(file, &read); err != nil {
		t.Fatal(err)
	}
	for _, r := range read.Groups[0].Rules {
		known[r.Record] = true
	}
	for path, row := range map[string]string{"../docs/metrics.md": "(?m)^\\| `(\\w+)` \\| (\\w+) \\|", "README.md": "(?m)^\\| `(\\w+)` \\| (\\w+)"} {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range regexp.MustCompile(row).FindAllStringSubmatch(string(text), -1) {
			known[found[1]] = true
			if found[2] == "histogram" {
				known[found[1]+"_bucket"] = true
			}
		}
	}
	return known
}

// names returns the metrics in an expression: the words that are neither labels nor functions nor operators. In the scenarios
// Prometheus itself parses the expressions.
func names(expr string) []string {
	for _, noise := range []string{`"[^"]*"`, `\{[^}]*\}`, `\[[^]]*\]`, `\b(by|on|ignoring|group_left|group_right|without) \([^)]*\)`, `\b\w+\s*\(`, `\b(or|and|unless|bool|offset)\b`, `\b[0-9.e]+\b`} {
		expr = regexp.MustCompile(noise).ReplaceAllString(expr, " ")
	}
	return regexp.MustCompile(`[a-zA-Z_:][\w:]*`).FindAllString(expr, -1)
}

func TestEveryMetricIsKnown(t *testing.T) {
	known := metrics(t)
	for name, d := range all(t) {
		found := 0
		for _, expr := range expressions(t, d) {
			if listed := regexp.MustCompile(`__name__=~"([^"]*)"`).FindStringSubmatch(expr); listed != nil {
				expr = strings.ReplaceAll(listed[1], "|", " ")
			}
			for _, metric := range names(expr) {
				found++
				if !known[metric] {
					t.Errorf("%s: unknown metric %s: %s", name, metric, expr)
				}
			}
		}
		if found < len(d.Panels) {
			t.Errorf("%s: found only %d metrics in %d panels", name, found, len(d.Panels))
		}
	}
}

func TestInterpolate(t *testing.T) {
	got := dashboards.Interpolate(`x{a="$a", b=~"${b}|$c"}[$__range]`, map[string]string{"a": "1", "b": "2", "__range": "30s"})
	if want := `x{a="1", b=~"2|$c"}[30s]`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
