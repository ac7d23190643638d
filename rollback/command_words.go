package rollback

import (
	"regexp"
	"strings"
)

// plainWord matches words that every POSIX shell reads literally.
var plainWord = regexp.MustCompile(`^[A-Za-z0-9_./:=%+-]+$`)

// quote returns the word in a form that a POSIX shell reads literally.
func quote(word string) string {
	if plainWord.MatchString(word) {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// splitLine returns the words that quote wrote into a line, the joins among them. It
// reports whether it can read the line: it knows no other syntax of the shell than that of
// quote, and no word with a quote in it, which no form has.
func splitLine(line string) ([]string, bool) {
	var words []string
	for text := range strings.SplitSeq(line, " ") {
		last := len(words) - 1
		switch {
		case last >= 0 && strings.Count(words[last], "'")%2 == 1:
			words[last] += " " + text // the space is quoted
		default:
			words = append(words, text)
		}
	}
	for i, w := range words {
		if plainWord.MatchString(w) || w == joinAnd || w == joinPipe {
			continue
		}
		inner, begins := strings.CutPrefix(w, "'")
		inner, ends := strings.CutSuffix(inner, "'")
		if !begins || !ends || strings.Contains(inner, "'") {
			return nil, false
		}
		words[i] = inner
	}
	return words, true
}
