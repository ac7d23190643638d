package notify

import (
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/upcommerce/backout/rollback"
)

// next returns what a person may run now, the most useful command first. What is
// in them are names and numbers, quoted where a shell could read them as something
// else; an alert's text is never among them.
func next(r *rollback.Record, s State) []Command {
	name, ns := r.Release, r.Namespace
	look := Command{"to see everything", command("kubectl", "get", "configmap", "backout.v1."+name+".v"+strconv.Itoa(r.Revision), "-n", ns, "-o", "yaml")}
	undo := Command{"to undo the rollback", command("helm", "rollback", name, strconv.Itoa(r.Revision), "-n", ns)}
	history := Command{"to see the release's history", command("helm", "history", name, "-n", ns)}
	lift := Command{"to give the canary its weight back", command("backout", "release", r.Key.String())}
	switch s {
	case OnHold:
		for _, w := range r.Weights {
			if w.Applier != "" {
				lift.Why += "; before the next upgrade, which " + printable(w.Applier) + " applies server-side and which is refused as a conflict until then"
				break
			}
		}
		return commands(byHand(holding(r), lift), lift, look)
	case AwaitingRollback, LeftAlone, InStorm:
		return commands(byHand(r.Decision(), look), look)
	case BackAgain, HasRecovered, IsRestored:
		return commands(undo, look)
	case HasNotRecovered:
		return commands(history, undo, look)
	case Broken:
		return commands(finish(r), look)
	case SwitchedOff:
		return commands(Command{"to end a pause of the release", command("backout", "resume", r.Key.String())}, look)
	case GivenBack, HoldOver, LookedAt, Acting:
		return commands(look)
	case Quiet:
	}
	return nil
}

// byHand is the command that the decision names, other if it names none.
func byHand(d rollback.Decision, other Command) Command {
	if d.Do == "" {
		return other
	}
	if d.Do == other.Line {
		return other
	}
	return Command{"to finish by hand", printable(d.Do)}
}

// finish is the command for a step that failed.
func finish(r *rollback.Record) Command {
	switch {
	case r.Rollback != nil && !r.Rollback.Succeeded() && r.Target > 0:
		return Command{"to finish by hand", command("helm", "rollback", r.Release, strconv.Itoa(r.Target), "-n", r.Namespace)}
	case r.Rollback == nil:
		return Command{"to take the canary out of the traffic", command("backout", "hold", r.Key.String())}
	default:
		return Command{"to see the release's history", command("helm", "history", r.Release, "-n", r.Namespace)}
	}
}

// commands leaves out what stands there twice.
func commands(all ...Command) []Command {
	var once []Command
	for _, c := range all {
		if !slices.ContainsFunc(once, func(o Command) bool { return o.Line == c.Line }) {
			once = append(once, c)
		}
	}
	return once
}

// command joins words to a line for a shell.
func command(words ...string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = quote(w)
	}
	return strings.Join(quoted, " ")
}

// plain is a word that no shell reads as anything but itself.
var plain = regexp.MustCompile(`^[A-Za-z0-9_./:=@%+-]+$`)

// quote returns the word as a POSIX shell takes it for itself.
func quote(word string) string {
	if plain.MatchString(word) {
		return word
	}
	return "'" + strings.ReplaceAll(printable(word), "'", `'\''`) + "'"
}
