package main

import (
	"testing"

	"github.com/upcommerce/backout/tests/env/sandbox/kept"
)

func TestOneLineSaysWhetherTheKeptControlPlaneIsUsed(t *testing.T) {
	output := func(test, text string) event {
		return event{Action: "output", Test: test, Output: "    start.go:37: " + kept.Mark + text + "\n"}
	}
	for _, c := range []struct {
		name   string
		events []event
		want   string
	}{
		{"no sandbox", []event{{Action: "output", Test: "TestA", Output: "other\n"}}, ""},
		{"used", []event{output("TestA", kept.Used)}, "kept control plane: used by TestA"},
		{"one of two", []event{output("TestA", "not used: no"), output("TestB", kept.Used)}, "kept control plane: used by TestB"},
		{"not used", []event{output("TestA", "not used: none is ready")}, "kept control plane: not used: none is ready"},
	} {
		var r result
		for _, e := range c.events {
			r.noteUse(e)
		}
		if got := keptLine([]result{{}, r}); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}
