package main

import (
	"strings"

	"github.com/upcommerce/backout/tests/env/sandbox/kept"
)

// use is a line of a test about the kept control plane.
type use struct {
	test string
	// text is kept.Used, or why the test opened a sandbox of its own.
	text string
}

// noteUse adds the line of a test's output if it is a use.
func (r *result) noteUse(e event) {
	if _, text, ok := strings.Cut(e.Output, kept.Mark); ok {
		r.uses = append(r.uses, use{test: e.Test, text: strings.TrimSpace(text)})
	}
}

// keptLine says in one line whether tests used the kept control plane; "" if none needed a sandbox.
func keptLine(results []result) string {
	var used []string
	reason := ""
	for _, r := range results {
		for _, u := range r.uses {
			if u.text == kept.Used {
				used = append(used, u.test)
			} else if reason == "" {
				reason = u.text
			}
		}
	}
	switch {
	case len(used) > 0:
		return kept.Mark + "used by " + strings.Join(used, ", ")
	case reason != "":
		return kept.Mark + reason
	}
	return ""
}
