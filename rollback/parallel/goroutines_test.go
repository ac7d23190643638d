package parallel_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// alone are the files in which goroutines begin that no step waits for, or whose panic parallel.Try
// carries to the step, with the reason.
func alone() map[string]string {
	return map[string]string{
		"engine/engine.go":        "the workers of Run: their panics end the process",
		"engine/fastpath.go":      "Try carries the panic to the shed",
		"engine/manual_steps.go":  "without its reports of progress, the command must not go on",
		"helm/follow.go":          "informers, which run as long as the process",
		"ledger/follow.go":        "watches, which run as long as the process",
		"ledger/lease.go":         "the elector, which runs as long as the process",
		"notify/notifier.go":      "the workers of Run",
		"prom/client.go":          "Try carries the panic to the step",
		"prom/pool.go":            "Try carries the panic to the step",
		"prom/watch.go":           "the queries of Run about the servers themselves",
		"traffic/endpoints.go":    "Try carries the panic to the step",
		"traffic/gauge.go":        "the watches of ReplicaSets, which run as long as the process",
		"traffic/workloadinfo.go": "watches, which run as long as the process",
		"traffic/watch.go":        "a watch, which outlasts the step that begins it",
	}
}

// A panic in a goroutine that sync.WaitGroup, errgroup or go starts ends the process before the step
// can count it in its record: a record that causes one would end every new leader.
func TestEveryGoroutineOfAStepCarriesItsPanic(t *testing.T) {
	sources, err := filepath.Glob("../*/*.go")
	if err != nil || len(sources) == 0 {
		t.Fatalf("%d sources, %v", len(sources), err)
	}
	found := make(map[string]string)
	for _, path := range sources {
		name := filepath.ToSlash(strings.TrimPrefix(path, ".."+string(filepath.Separator)))
		if strings.HasSuffix(name, "_test.go") || strings.HasPrefix(name, "parallel/") || strings.Contains(name, "test/") {
			continue
		}
		positions := token.NewFileSet()
		file, err := parser.ParseFile(positions, path, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if what := starts(n); what != "" {
				found[name] = what
				if alone()[name] == "" {
					t.Errorf("%s: %s starts a goroutine whose panic ends the process: take package parallel, or say why it may", positions.Position(n.Pos()), what)
				}
			}
			return true
		})
	}
	for _, name := range slices.Sorted(maps.Keys(alone())) {
		if found[name] == "" {
			t.Errorf("%s starts no goroutine by itself: remove it from the list", name)
		}
	}
}

// starts returns what starts a goroutine; "" if n does not.
func starts(n ast.Node) string {
	switch n := n.(type) {
	case *ast.GoStmt:
		return "go"
	case *ast.SelectorExpr:
		x, ok := n.X.(*ast.Ident)
		if ok && (x.Name == "sync" && n.Sel.Name == "WaitGroup" || x.Name == "errgroup") {
			return x.Name + "." + n.Sel.Name
		}
	}
	return ""
}
