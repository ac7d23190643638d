package rollback

import (
	"regexp"
	"strconv"
	"strings"
)

// Command joins words into one line that a POSIX shell reads as exactly these words. Every
// command that backout shows to an operator is built with it: words come from names and
// numbers, never from the text of an alert.
func Command(words ...string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = quote(w)
	}
	return strings.Join(quoted, " ")
}

// plainWord matches words that every POSIX shell reads literally.
var plainWord = regexp.MustCompile(`^[A-Za-z0-9_./:=@%+-]+$`)

// quote returns the word in a form that a POSIX shell reads literally.
func quote(word string) string {
	if plainWord.MatchString(word) {
		return word
	}
	return "'" + strings.ReplaceAll(Printable(word), "'", `'\''`) + "'"
}

// HelmRollbackCommand rolls the release back to a revision.
func (k Key) HelmRollbackCommand(revision int) string {
	return Command("helm", "rollback", k.Release, strconv.Itoa(revision), "-n", k.Namespace)
}

// HelmHistoryCommand lists the revisions of the release.
func (k Key) HelmHistoryCommand() string {
	return Command("helm", "history", k.Release, "-n", k.Namespace)
}

// HoldCommand sets the canary's weight to zero and keeps it there.
func (k Key) HoldCommand() string { return Command("backout", "hold", k.String()) }

// UnholdCommand ends a hold.
func (k Key) UnholdCommand() string { return Command("backout", "unhold", k.String()) }

// ResumeCommand ends a pause of the release.
func (k Key) ResumeCommand() string { return Command("backout", "resume", k.String()) }

// ShowCommand prints the whole record.
func (r *Record) ShowCommand() string {
	return Command("kubectl", "get", "configmap", r.Name(), "-n", r.Namespace, "-o", "yaml")
}
