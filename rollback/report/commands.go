package report

import (
	"slices"
	"strings"

	"github.com/upcommerce/backout/rollback"
)

// Command is a command that an operator may run, and its purpose.
type Command struct {
	// Why is backout's own text.
	Why  string           `json:"why"`
	Line rollback.Command `json:"line"`
}

// Commands returns the commands that an operator may run now, the most useful one
// first. There are no other commands in a report. Package rollback builds and quotes
// them from names and numbers; an alert's text is never among them, and a stored one only
// if backout could have made it.
func Commands(r *rollback.Record) []Command {
	all := commandsOf(r)
	for i := range all {
		all[i].Line = forRelease(r, all[i].Line)
	}
	return all
}

// forRelease returns the command as it works for the release of the record.
func forRelease(r *rollback.Record, c rollback.Command) rollback.Command {
	return c.In(r.Storage).WithTrack(r.TrackLabel)
}

// commandsOf is Commands for a release in Secrets whose canary has the default label.
func commandsOf(r *rollback.Record) []Command {
	show := Command{Why: "to see the whole record", Line: r.ShowCommand()}
	undo := Command{Why: "to undo the rollback", Line: r.RollbackCommand(r.Revision)}
	if r.HasStrayRoutes() {
		return distinct(append(strayCommands(r), show)...)
	}
	if r.HasLeftover() {
		return distinct(Command{Why: "to give the canary its weight back", Line: r.UnholdCommand()}, show)
	}
	if r.Manual.Active() && !r.Manual.Stalled.IsZero() {
		return distinct(Command{Why: "to go on with the rollback", Line: r.ManualCommand()}, show)
	}
	switch StateOf(r) {
	case StateHeld:
		unhold := unholdCommand(r)
		return distinct(decisionCommand(r, holdDecision(r), unhold), unhold, show)
	case StateAwaitingRollback, StateNeedsHelp, StateStorm, StateWaiting:
		return distinct(decisionCommand(r, r.Decision(), show), show)
	case StateVerifying, StateRecovered, StateUnverified:
		return distinct(undo, show)
	case StateRestored, StateNotRecovered:
		return distinct(historyCommand(r), undo, show)
	case StateFailed:
		return distinct(finishCommand(r), historyCommand(r), show)
	case StateStuck:
		return distinct(append(stuckCommands(r), show)...)
	case StatePaused:
		return distinct(append(resumeCommands(r), show)...)
	case StateActing, StateShedUndone, StateHoldEnded, StateObserved:
		return distinct(show)
	case StateNoAction:
	}
	return nil
}

// strayCommands are for marked routes whose release is gone.
func strayCommands(r *rollback.Record) []Command {
	var all []Command
	for _, route := range r.StrayRoutes {
		all = append(all,
			Command{Why: "to set the weights of the route, if they are not right", Line: r.EditRouteCommand(route)},
			Command{Why: "then to remove the mark of the shed", Line: r.UnmarkRouteCommand(route)})
	}
	return all
}

// stuckCommands are for a step that keeps failing: where the canary still gets traffic, the
// one that takes it out of rotation comes first.
func stuckCommands(r *rollback.Record) []Command {
	s, _ := stuckStep(r)
	switch {
	case s.name == rollback.StepShed || notShed(r) && !r.Rollback.Succeeded():
		return []Command{holdCommand(r), finishCommand(r)}
	case s.name == stepNone && r.Hold.Active():
		return []Command{unholdCommand(r)}
	}
	return []Command{finishCommand(r)}
}

// resumeCommands end every pause that applies to the release.
func resumeCommands(r *rollback.Record) []Command {
	var all []Command
	for _, line := range r.ResumeCommands(r.Decision().Reason) {
		why := "to end a pause of the release"
		if line != r.ResumeCommand() {
			why = "to end a pause that applies to other releases as well"
		}
		all = append(all, Command{Why: why, Line: line})
	}
	return all
}

func holdCommand(r *rollback.Record) Command {
	return Command{Why: "to take the canary out of rotation", Line: r.HoldCommand()}
}

func historyCommand(r *rollback.Record) Command {
	return Command{Why: "to see the release's history", Line: r.HelmHistoryCommand()}
}

// unholdCommand ends the hold. Where another field manager applies the route, it says
// when to run it.
func unholdCommand(r *rollback.Record) Command {
	unhold := Command{Why: "to give the canary its weight back", Line: r.UnholdCommand()}
	i := slices.IndexFunc(r.Weights, func(w rollback.Weight) bool { return w.FieldManager != "" })
	if i >= 0 {
		unhold.Why += " (run it before the next upgrade: " + managerName(r.Weights[i].FieldManager) +
			" applies the route server-side, and the API server refuses the upgrade with a conflict until then)"
	}
	return unhold
}

// managerName returns the name of a field manager as a text next to a command may contain
// it: any client chooses its own.
func managerName(name string) string {
	strange := func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("-._/", r)
	}
	if name == "" || len(name) > rollback.MaxName || strings.ContainsFunc(name, strange) {
		return "another field manager"
	}
	return name
}

// decisionCommand is the command that the decision names, other if it names none that is
// about the release.
func decisionCommand(r *rollback.Record, d rollback.Decision, other Command) Command {
	line := d.Command.For(r.Key)
	if line == (rollback.Command{}) || line == other.Line {
		return other
	}
	return Command{Why: purpose(r, d), Line: line}
}

// purpose says what an operator decides by running the decision's command. It names the
// risk again where backout refuses to run the command itself.
func purpose(r *rollback.Record, d rollback.Decision) string {
	switch {
	case d.Command == r.HelmHistoryCommand():
		return "to see the release's history"
	case d.Command == r.UnholdCommand():
		return "to give the canary its weight back"
	case d.Verdict == rollback.Unsafe:
		return "to roll back in spite of the harm named above"
	case d.Verdict == rollback.Managed, d.Verdict == rollback.Busy, d.Verdict == rollback.NoStable:
		return "to finish manually"
	default:
		return "to roll back all the same"
	}
}

// finishCommand is the command for a step that failed or keeps failing.
func finishCommand(r *rollback.Record) Command {
	target := max(r.Target, r.Decision().Target)
	switch {
	case r.Rollback != nil && !r.Rollback.Finished() && target > 0:
		// backout's own command leaves a rollback to a backout that is about it.
		return Command{Why: "to finish manually", Line: r.HelmRollbackCommand(target)}
	case !r.Rollback.Succeeded() && target > 0:
		return Command{Why: "to finish manually", Line: r.RollbackCommand(target)}
	case r.Rollback == nil:
		return holdCommand(r)
	default:
		return historyCommand(r)
	}
}

// distinct leaves out commands that occur twice, and those without a line. A rollback by
// backout's own command is followed by the one by Helm alone.
func distinct(all ...Command) []Command {
	var once []Command
	add := func(c Command) {
		if c.Line != (rollback.Command{}) && !slices.ContainsFunc(once, func(o Command) bool { return o.Line == c.Line }) {
			once = append(once, c)
		}
	}
	for _, c := range all {
		add(c)
		add(plainHelm(c.Line))
	}
	return once
}

// StormCommand lists the records of every release.
func StormCommand() Command {
	return Command{Why: "to see all records", Line: rollback.RecordsCommand()}
}
