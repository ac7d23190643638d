package main

import (
	"io"
	"strings"
	"testing"
	"time"
)

func TestTheSummaryNamesFailuresSkipsAndTheSlowest(t *testing.T) {
	s := suite{out: io.Discard}
	r := result{testPackage: testPackage{module: ".", path: "e2e/shop"}, log: "bin/test-logs/e2e-shop.log", open: map[string]bool{}}
	var log strings.Builder
	s.read(strings.NewReader(`{"Action":"run","Test":"TestA"}
{"Action":"output","Test":"TestA","Output":"=== RUN   TestA\n"}
{"Action":"output","Test":"TestA","Output":"    a_test.go:1: no containerd here\n"}
{"Action":"output","Test":"TestA","Output":"--- SKIP: TestA (0.00s)\n"}
{"Action":"skip","Test":"TestA","Elapsed":0}
not json
{"Action":"pass","Test":"TestB/part","Elapsed":3}
{"Action":"pass","Test":"TestB","Elapsed":3.25}
{"Action":"output","Test":"TestC","Output":"    c_test.go:7: the first page was blue, want green\n"}
{"Action":"output","Test":"TestC","Output":"    start.go:9: the control plane's log\n"}
{"Action":"fail","Test":"TestC","Elapsed":1}
{"Action":"fail","Elapsed":5}`), &log, &r)
	broken := result{testPackage: testPackage{module: "tools/images", path: "."}, broken: "exit status 1", log: "images.log"}
	if len(r.open) != 0 {
		t.Errorf("tests that have ended count as open: %v", r.open)
	}
	var out strings.Builder
	if !summarize(&out, []result{r, broken}, 61*time.Second) {
		t.Error("a run with a failure counts as passed")
	}
	const want = `
The slowest tests
  3.2s  e2e/shop  TestB
  1.0s  e2e/shop  TestC
  0.0s  e2e/shop  TestA
skipped  e2e/shop TestA: a_test.go:1: no containerd here
FAILED   images: exit status 1; images.log
FAILED   e2e/shop TestC; bin/test-logs/e2e-shop.log
           c_test.go:7: the first page was blue, want green
2 passed, 1 failed, 1 skipped in 1m1s
`
	if got := out.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if !strings.Contains(log.String(), "no containerd here\n") {
		t.Errorf("the log lacks the output: %q", log.String())
	}
	if failed := summarize(io.Discard, []result{{tests: []test{{name: "TestB", outcome: "pass"}}}}, 0); failed {
		t.Error("a run without a failure counts as failed")
	}
}
