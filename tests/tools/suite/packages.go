package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// quiet is a package that measures seconds, and lanes of packages that may run in parallel, those of a lane one by one, because all of
// them mostly wait. With two processors, requests take seconds next to a busy sandbox, also next to one of a lower priority.
type quiet struct {
	name  string
	lanes [][]string
}

// quietOnes come first, in this order.
func quietOnes() []quiet {
	return []quiet{
		{name: "e2e/rules", lanes: [][]string{{"e2e/guide"}}},
		{name: "e2e/upcommerce", lanes: [][]string{{"e2e/scenarios", "e2e/sandbox"}, {"e2e/demo", "e2e/prom", "e2e/ledger", "e2e/helm"}}},
		{name: "chaos"},
	}
}

// order is the order in which the others begin: those that take long come first.
func order() []string {
	return []string{"e2e/traffic", "e2e/chart", "e2e/router"}
}

// packages returns the packages with tests to run.
func (s *suite) packages(ctx context.Context) ([]testPackage, error) {
	var all []testPackage
	// tools/power has tests that need no cluster: go test runs them with those of the root.
	for _, module := range []string{".", "tools/images"} {
		list := exec.CommandContext(ctx, "go", "list", "-f", `{{if or .TestGoFiles .XTestGoFiles}}{{.Dir}}{{end}}`, "./...")
		list.Dir = filepath.Join(s.tests, module)
		out, err := list.Output()
		if err != nil {
			return nil, fmt.Errorf("list the packages of %s: %w", list.Dir, err)
		}
		for dir := range strings.FieldsSeq(string(out)) {
			path, err := filepath.Rel(list.Dir, dir)
			if err != nil {
				return nil, err
			}
			all = append(all, testPackage{module: module, path: path})
		}
	}
	if s.run != "" {
		return s.matching(all)
	}
	first := order()
	slices.SortStableFunc(all, func(a, b testPackage) int { return rank(first, a) - rank(first, b) })
	return all, nil
}

func rank(first []string, p testPackage) int {
	if i := slices.Index(first, p.name()); i >= 0 {
		return i
	}
	return len(first)
}

var testFunction = regexp.MustCompile(`(?m)^func (Test\w+)\(t \*testing\.T\)`)

// matching returns the packages that have a test for run.
func (s *suite) matching(all []testPackage) ([]testPackage, error) {
	var tops []string
	for alternative := range strings.SplitSeq(s.run, "|") {
		top, _, _ := strings.Cut(alternative, "/")
		tops = append(tops, top)
	}
	match, err := regexp.Compile(strings.Join(tops, "|"))
	if err != nil {
		return nil, fmt.Errorf("RUN is not a regular expression: %w", err)
	}
	var some []testPackage
	for _, p := range all {
		files, err := filepath.Glob(filepath.Join(s.tests, p.module, p.path, "*_test.go"))
		if err != nil {
			return nil, err
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				return nil, err
			}
			if slices.ContainsFunc(testFunction.FindAllSubmatch(text, -1), func(m [][]byte) bool { return match.Match(m[1]) }) {
				some = append(some, p)
				break
			}
		}
	}
	if len(some) == 0 {
		return nil, fmt.Errorf("no test matches %q", s.run)
	}
	return some, nil
}
