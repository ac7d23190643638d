package rules_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/upcommerce/backout/rules"
	"github.com/upcommerce/backout/tests/sandbox"
)

// node is an expression as Prometheus' own parser shows it.
type node struct {
	Type, Op, Name, Val string
	Bool                bool
	Func                struct{ Name string }
	Expr, Param         *node
	LHS, RHS            *node
	Args                []*node
}

// walk calls visit for n and everything in it.
func (n *node) walk(visit func(*node)) {
	if n == nil {
		return
	}
	visit(n)
	for _, inner := range append([]*node{n.Expr, n.Param, n.LHS, n.RHS}, n.Args...) {
		inner.walk(visit)
	}
}

// guarded reports whether n, a divisor, cannot be zero.
func (n *node) guarded() bool {
	switch n.Type {
	case "parenExpr":
		return n.Expr.guarded()
	case "numberLiteral":
		return n.Val != "0"
	case "binaryExpr":
		return n.Op == ">" && !n.Bool && n.RHS.Val == "0" || n.Op == "+" && n.LHS.guarded() && n.RHS.guarded()
	case "call":
		return n.Func.Name == "count_over_time" || n.Func.Name == "sqrt" && n.Args[0].guarded()
	}
	return false
}

type rule struct {
	Record, Alert, Expr string
	Labels, Annotations map[string]string
}

// Prometheus itself takes every expression of every preset apart: what is read is recorded before in the same group, or a metric that
// the README or the head of the source names; and no divisor can be zero.
func TestExpressions(t *testing.T) {
	t.Parallel()
	s := sandbox.Start(t)
	p, err := s.Prometheus(t.Context(), sandbox.PrometheusOptions{})
	if err != nil {
		t.Fatal(err)
	}
	readme := text(t, "README.md")
	for _, preset := range rules.Presets() {
		t.Run(preset, func(t *testing.T) {
			named := readme + text(t, filepath.Join("sources", preset+".yml"))
			var recorded []string
			for _, r := range group(t, assemble(t, preset)) {
				checkExpression(t, p, r, func(name string) bool {
					// Envoy Gateway has no durations by endpoint; the rules about them find nothing.
					none := preset == "envoy-gateway" && strings.HasPrefix(name, "track:http_duration_")
					return none || slices.Contains(recorded, name) || !strings.Contains(name, ":") && isNamed(named, name)
				})
				recorded = append(recorded, r.Record)
			}
		})
	}
}

func checkExpression(t *testing.T, p *sandbox.Prometheus, r rule, known func(name string) bool) {
	t.Helper()
	what := r.Record + r.Labels["kind"] + r.Alert
	root, err := takeApart(p, r.Expr)
	if err != nil {
		t.Errorf("%s: %v", what, err)
		return
	}
	root.walk(func(n *node) {
		switch {
		case n.Type == "vectorSelector" || n.Type == "matrixSelector":
			if !known(n.Name) {
				t.Errorf("%s reads %q, which is neither recorded before nor named in the README or the source", what, n.Name)
			}
		case n.Op == "/" && !n.RHS.guarded():
			t.Errorf("%s divides by what can be zero: guard it with > 0", what)
		}
	})
	for name, text := range r.Annotations {
		for _, asked := range regexp.MustCompile(`"([a-z0-9_:]+)\{`).FindAllStringSubmatch(text, -1) {
			if !known(asked[1]) {
				t.Errorf("%s: the %s asks for %q, which is not recorded", what, name, asked[1])
			}
		}
	}
}

// isNamed reports whether a text names a metric, be it without what a histogram's series add to it.
func isNamed(text, name string) bool {
	plain := regexp.MustCompile(`_(bucket|sum|count)$`).ReplaceAllString(name, "")
	return regexp.MustCompile(`\b` + plain + `\b`).MatchString(text)
}

func takeApart(p *sandbox.Prometheus, expr string) (*node, error) {
	r, err := http.PostForm(p.URL()+"/api/v1/parse_query", url.Values{"query": {expr}})
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Body.Close() }()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	var answer struct {
		Data  *node
		Error string
	}
	if err := json.Unmarshal(b, &answer); err != nil || answer.Data == nil {
		return nil, fmt.Errorf("%s %s (%w)", r.Status, answer.Error, err)
	}
	return answer.Data, nil
}

func group(t *testing.T, b []byte) []rule {
	t.Helper()
	var f struct{ Groups []struct{ Rules []rule } }
	if err := yaml.Unmarshal(b, &f); err != nil {
		t.Fatal(err)
	}
	return f.Groups[0].Rules
}

func text(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "..", "rules", path))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
