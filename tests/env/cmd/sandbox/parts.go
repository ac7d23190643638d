package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/upcommerce/backout/tests/env/sandbox/controlplane/controllers"
)

// printParts prints the parts of Kubernetes that are linked into this program, as a table for docs/sandbox.md.
func printParts(out io.Writer) {
	list := func(names []string) string { return "`" + strings.Join(names, "`, `") + "`" }
	fmt.Fprintln(out, "| part of Kubernetes | in the sandbox |")
	fmt.Fprintln(out, "|---|---|")
	fmt.Fprintf(out, "| API groups, built in | %s |\n", list(apiGroups()))
	fmt.Fprintf(out, "| admission plugins | %s |\n", list(admissionPlugins()))
	fmt.Fprintf(out, "| controllers | %s |\n", list(controllers.Names()))
}
