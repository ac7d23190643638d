package report

import (
	"fmt"
	"strings"
	"time"

	"github.com/upcommerce/backout/rollback"
)

// DryRun returns the result of a dry run for a terminal.
func DryRun(result rollback.DryRunResult) string {
	result = result.Printable()
	var b strings.Builder
	r, d := result.Record, result.Record.Decision()
	subject := "the alert"
	if r.Release != "" {
		subject = r.Key.String()
	}
	if r.Revision != 0 {
		subject = fmt.Sprintf("revision %d of %s", r.Revision, r.Key)
	}
	fmt.Fprintf(&b, "%s: %s\n%s\n\nbackout would now\n", subject, d.Verdict, d.Reason)
	for i, line := range dryRunSteps(result) {
		fmt.Fprintf(&b, "  %d. %s\n", i+1, line)
	}
	sections := []Section{
		{Title: titleChecks, Facts: checkFacts(&r)},
		{Title: titleTarget, Facts: candidateFacts(&r)},
	}
	for _, s := range sections {
		s.write(&b)
	}
	if len(result.Assumed) > 0 {
		fmt.Fprintf(&b, "\nAssumptions\n  %s\n", strings.Join(result.Assumed, "\n  "))
	}
	return b.String()
}

// dryRunSteps lists what backout would do, in order.
func dryRunSteps(result rollback.DryRunResult) []string {
	d := result.Record.Decision()
	var lines []string
	if d.Shed {
		lines = append(lines, "set the canary's weight to zero"+dryRunWeights(result))
	}
	switch {
	case d.Rollback && d.Hold:
		lines = append(lines,
			fmt.Sprintf("roll back to revision %d with Helm", d.Target),
			fmt.Sprintf("hold its canary, which runs the pods of revision %d, at zero until a revision with different content is deployed or an operator ends the hold", result.Record.Revision),
			"verify that the rollback helped")
	case d.Rollback:
		lines = append(lines,
			fmt.Sprintf("roll back to revision %d with Helm", d.Target),
			"restore the weight that this revision declares, once its pods are ready",
			"verify that the rollback helped")
	case d.Hold:
		lines = append(lines, "hold it at zero until a revision with different content is deployed or an operator ends the hold")
	}
	if d.Waits {
		at := "as soon as the cluster changes"
		if !d.RecheckAt.IsZero() {
			at = "at " + d.RecheckAt.UTC().Format(time.RFC3339) + " at the latest"
		}
		lines = append(lines, "decide again, "+at)
	}
	if d.NeedsHelp {
		lines = append(lines, "ask the team for help"+toFinish(forRelease(&result.Record, d.Command)))
	}
	if len(lines) == 0 {
		lines = append(lines, "do nothing")
	}
	return lines
}

func toFinish(command rollback.Command) string {
	if command == (rollback.Command{}) {
		return ""
	}
	return "; to finish manually: " + command.String()
}

// dryRunWeights lists the weights that a shed would write.
func dryRunWeights(result rollback.DryRunResult) string {
	if result.Record.Shed.Tried() {
		return ", where it is already"
	}
	if result.Routing == nil && len(result.Missed) > 0 {
		return " (" + strings.Join(result.Missed, "; ") + ")"
	}
	if result.Routing == nil {
		return " (backout could read no route to a canary)"
	}
	if len(result.Routing.Weights) == 0 {
		return " (the release has no route to a canary)"
	}
	weights := make([]rollback.Weight, 0, len(result.Routing.Weights))
	for _, w := range result.Routing.Weights {
		w.To = "0"
		weights = append(weights, w)
	}
	if len(result.Missed) > 0 {
		return ": " + rollback.FormatWeights(weights) + " (" + strings.Join(result.Missed, "; ") + ")"
	}
	return ": " + rollback.FormatWeights(weights)
}
