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
	"github.com/upcommerce/backout/tests/env/sandbox"
)

// node is an expression as Prometheus' own parser returns it.
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

// positive reports whether n is above zero wherever it has a value, if the recorded series in names are.
func (n *node) positive(names map[string]bool) bool {
	switch n.Type {
	case "parenExpr":
		return n.Expr.positive(names)
	case "numberLiteral":
		return n.Val != "0"
	case "vectorSelector", "matrixSelector":
		return names[n.Name]
	case "aggregation":
		return n.Op == "count" || n.Op == "group" || n.Expr.positive(names)
	case "call":
		if n.Func.Name == "clamp_min" {
			return n.Args[1].positive(names)
		}
		return n.Func.Name == "count_over_time" || slices.Contains([]string{"sqrt", "sum_over_time", "label_replace"}, n.Func.Name) && n.Args[0].positive(names)
	case "binaryExpr":
		switch n.Op {
		case ">":
			return !n.Bool && n.RHS.Type == "numberLiteral"
		case "and", "unless":
			return n.LHS.positive(names)
		case "or", "+", "*", "/":
			return n.LHS.positive(names) && n.RHS.positive(names)
		}
	}
	return false
}

type rule struct {
	Record, Alert, Expr string
	Labels, Annotations map[string]string
}

// Prometheus itself parses every expression of every preset: each series that it reads is recorded before in the same group, or is a
// metric that the README or the head of the source names; and no divisor can be zero.
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
			c := checker{prometheus: p, preset: preset, named: named, positive: map[string]bool{}}
			for _, r := range group(t, assemble(t, rules.Options{Preset: preset})) {
				c.check(t, r)
			}
		})
	}
}

// checker checks the rules of a preset in their order.
type checker struct {
	prometheus *sandbox.Prometheus
	preset     string
	named      string // the texts of the README and of the source
	// positive has every series that was recorded so far, and whether its value is above zero.
	positive map[string]bool
}

func (c checker) known(name string) bool {
	// Prometheus records ALERTS itself. Envoy Gateway has no durations by endpoint, so that the rules about them find nothing.
	none := name == "ALERTS" ||
		c.preset == "envoy-gateway" && regexp.MustCompile("^(track|canary):http_duration_(bucket|sum):").MatchString(name)
	_, recorded := c.positive[name]
	return none || recorded || !strings.Contains(name, ":") && isNamed(c.named, name)
}

func (c checker) check(t *testing.T, r rule) {
	t.Helper()
	name := r.Record + r.Labels["kind"] + r.Alert
	root, err := parse(c.prometheus, r.Expr)
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return
	}
	logarithms := map[*node]bool{}
	root.walk(func(n *node) {
		switch {
		case n.Type == "vectorSelector" || n.Type == "matrixSelector":
			if !c.known(n.Name) {
				t.Errorf("%s reads %q, which is neither recorded before nor named in the README or the source", name, n.Name)
			}
		case n.Func.Name == "ln":
			logarithms[n.Args[0]] = true
		// The logarithm of a ratio whose divisor is zero is not a number, and NaN fires nothing.
		case n.Op == "/" && !logarithms[n] && !n.RHS.positive(c.positive):
			t.Errorf("%s divides by a series that can be zero: guard it with > 0", name)
		}
	})
	if r.Record != "" {
		before, again := c.positive[r.Record]
		c.positive[r.Record] = root.positive(c.positive) && (before || !again)
	}
	for annotation, text := range r.Annotations {
		for _, queried := range regexp.MustCompile(`"([a-z0-9_:]+)\{`).FindAllStringSubmatch(text, -1) {
			if !c.known(queried[1]) {
				t.Errorf("%s: the %s queries %q, which is not recorded", name, annotation, queried[1])
			}
		}
	}
}

// isNamed reports whether a text names a metric, with or without the suffix of a histogram's series.
func isNamed(text, name string) bool {
	plain := regexp.MustCompile(`_(bucket|sum|count)$`).ReplaceAllString(name, "")
	return regexp.MustCompile(`\b` + plain + `\b`).MatchString(text)
}

func parse(p *sandbox.Prometheus, expr string) (*node, error) {
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
	b, err := os.ReadFile(filepath.Join("..", "..", "..", "rules", path))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
