package rollback

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Command is a line that an operator may paste into a POSIX shell; the zero Command has no
// line. Only this package makes Commands, from words that it quotes, and it makes no other
// lines than those of command_forms.go: no other package can append to one.
type Command struct{ line string }

// Equal reports whether c and o are the same line.
func (c Command) Equal(o Command) bool { return c == o }

// String returns the line; "" for none. It consists of printable ASCII characters without
// a backtick, and is at most MaxCommand long.
func (c Command) String() string { return c.line }

// MarshalText implements encoding.TextMarshaler.
func (c Command) MarshalText() ([]byte, error) { return []byte(c.line), nil }

// UnmarshalText implements encoding.TextUnmarshaler as ReadCommand does. It returns no
// error: a record with a foreign line can be read, without the line.
func (c *Command) UnmarshalText(line []byte) error {
	*c = ReadCommand(string(line))
	return nil
}

// ReadCommand returns the command that a stored line is. It returns none if backout could
// not have made the line: clients that may write ConfigMaps may write records. Command.For
// says whether it is about the record's release.
func ReadCommand(line string) Command {
	if len(line) > MaxCommand {
		return Command{}
	}
	words, ok := splitLine(line)
	if c := newCommand(words...); ok && c.line == line {
		return c
	}
	return Command{}
}

// For returns the command if a decision about the release can contain it, and none
// otherwise: a record names no other release in its commands.
func (c Command) For(k Key) Command {
	words, _ := splitLine(c.line)
	for _, f := range decisionForms() {
		if found, ok := f.match(words); ok && found.isAbout(k) {
			return c
		}
	}
	return Command{}
}

// newCommand returns the command that a shell reads as these words; the words && and |
// join two commands. It returns none if no form has these words, such as for a name that
// cannot be one.
func newCommand(words ...string) Command {
	known := func(f form) bool {
		_, ok := f.match(words)
		return ok
	}
	if !slices.ContainsFunc(decisionForms(), known) && !slices.ContainsFunc(hintForms(), known) {
		return Command{}
	}
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = w
		if w != joinAnd && w != joinPipe {
			quoted[i] = quote(w)
		}
	}
	line := strings.Join(quoted, " ")
	if len(line) > MaxCommand {
		return Command{}
	}
	return Command{line}
}

// then runs next after c, if c succeeds. Without next it is c.
func (c Command) then(next Command) Command {
	if next == (Command{}) {
		return c
	}
	return ReadCommand(c.line + " " + joinAnd + " " + next.line)
}

// RollbackCommand rolls the release back to a revision with backout's own command, which holds
// the canary's weight at zero meanwhile and accepts those dangers; none for a number that no
// revision has, or for a danger that no operator may allow.
func (k Key) RollbackCommand(revision int, allow ...DangerKind) Command {
	return k.rollbackTo(strconv.Itoa(revision), allow)
}

func (k Key) rollbackTo(revision string, allow []DangerKind) Command {
	words := []string{"backout", "rollback", k.String(), "--to", revision}
	if len(allow) > 0 {
		var kinds []string
		for _, kind := range allow {
			kinds = append(kinds, string(kind))
		}
		words = append(words, "--allow", strings.Join(kinds, ","))
	}
	return newCommand(words...)
}

// PlainHelm returns the command with helm rollback in place of backout rollback, for a machine
// without backout's program; none if c does not contain that.
func (c Command) PlainHelm() Command {
	before, after, found := strings.Cut(c.line, "backout rollback ")
	if !found {
		return Command{}
	}
	words, _ := splitLine(after)
	if len(words) < 3 {
		return Command{}
	}
	namespace, release, _ := strings.Cut(words[0], "/")
	return ReadCommand(fmt.Sprintf("%shelm rollback %s %s -n %s", before, release, words[2], namespace))
}

// HelmRollbackCommand rolls the release back to a revision; none for a number that no
// revision has.
func (k Key) HelmRollbackCommand(revision int) Command {
	return newCommand("helm", "rollback", k.Release, strconv.Itoa(revision), "-n", k.Namespace)
}

// helmRollbackTemplate leaves the revision to the operator.
func (k Key) helmRollbackTemplate() Command {
	return newCommand("helm", "rollback", k.Release, anyRevision, "-n", k.Namespace)
}

// rollbackTemplate leaves the revision to the operator.
func (k Key) rollbackTemplate() Command { return k.rollbackTo(anyRevision, nil) }

// leavesRevision reports whether the command leaves a revision to the operator.
func (c Command) leavesRevision() bool {
	words, _ := splitLine(c.line)
	return slices.Contains(words, anyRevision)
}

// withRevision returns such a command with that revision.
func (c Command) withRevision(revision int) Command {
	return ReadCommand(strings.ReplaceAll(c.line, " "+anyRevision, " "+strconv.Itoa(revision)))
}

// HelmHistoryCommand lists the revisions of the release.
func (k Key) HelmHistoryCommand() Command {
	return newCommand("helm", "history", k.Release, "-n", k.Namespace)
}

// HelmListCommand lists the releases of the cluster.
func HelmListCommand() Command { return newCommand("helm", "list", "-A") }

// HoldCommand sets the canary's weight to zero and keeps it there.
func (k Key) HoldCommand() Command { return BackoutCommand("backout", "hold", k.String()) }

// UnholdCommand ends a hold.
func (k Key) UnholdCommand() Command { return BackoutCommand("backout", "unhold", k.String()) }

// EditRouteCommand opens a route of the namespace, as in Record.StrayRoutes, in an editor; none
// without its group, because the kind alone may be that of another group.
func (k Key) EditRouteCommand(route string) Command {
	kind, name, _ := strings.Cut(route, "/")
	return newCommand("kubectl", "edit", strings.ToLower(kind), name, "-n", k.Namespace)
}

// UnmarkRouteCommand removes the mark of a shed from such a route.
func (k Key) UnmarkRouteCommand(route string) Command {
	kind, name, _ := strings.Cut(route, "/")
	return newCommand("kubectl", "annotate", strings.ToLower(kind), name, "-n", k.Namespace, HeldAnnotation+"-", HeldRulesAnnotation+"-")
}

// UnmarkTargetCommand removes from the ConfigMap which installation serves the namespace.
func UnmarkTargetCommand(namespace, configMap string) Command {
	return newCommand("kubectl", "annotate", "configmap", configMap, "-n", namespace, "backout.dev/installation-")
}

// ResumeCommand ends a pause of the release.
func (k Key) ResumeCommand() Command { return BackoutCommand("backout", "resume", k.String()) }

// ResumeCommands end the pauses that a line of Ledger.Paused names; the one of the release if it
// names none.
func (k Key) ResumeCommands(paused string) []Command {
	var all []Command
	for line := range strings.SplitSeq(paused, "; ") {
		switch scope, _, found := strings.Cut(line, " is paused"); {
		case !found: // a part of a note
		case scope == "everything":
			all = append(all, BackoutCommand("backout", "resume", ""))
		case scope == "namespace "+k.Namespace:
			all = append(all, BackoutCommand("backout", "resume", k.Namespace))
		case scope == "release "+k.String():
			all = append(all, k.ResumeCommand())
		}
	}
	if len(all) == 0 {
		return []Command{k.ResumeCommand()}
	}
	return all
}

// BackoutCommand is one of backout's own commands. The program is "backout", or "kubectl
// backout" for the plugin; the scope is a release, a namespace or "".
func BackoutCommand(program, verb, scope string) Command {
	return newCommand(append(strings.Fields(program), strings.Fields(verb+" "+scope)...)...)
}

// ShowCommand prints the whole record.
func (r *Record) ShowCommand() Command {
	return newCommand("kubectl", "get", "configmap", r.Name(), "-n", r.Namespace, "-o", "yaml")
}

// ExplainCommand explains the record.
func (r *Record) ExplainCommand() Command {
	return BackoutCommand("backout", "explain", fmt.Sprintf("%s/%d", r.Key, r.Revision))
}

// RecordsCommand lists the records of every release.
func RecordsCommand() Command {
	return newCommand("kubectl", "get", "configmaps", "-A", "-l", "app.kubernetes.io/managed-by=backout", "-L", "backout.dev/verdict")
}
