package rollback

import (
	"strings"
	"unicode"
)

// harmless replaces the characters that mislead a terminal, a log or a reader with spaces:
// control characters, line separators and changes of direction. Invalid UTF-8 becomes "?".
func harmless(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.In(r, unicode.Bidi_Control, unicode.Zl, unicode.Zp) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
}

// Clip returns s bounded to n runes, without control characters, line separators
// and changes of direction.
func Clip(s string, n int) string { return Short(harmless(s), n) }

// Printable returns s on one line, without control characters, line separators and
// changes of direction. Runs of white space become one space.
func Printable(s string) string { return strings.Join(strings.Fields(harmless(s)), " ") }

// Short bounds s to n runes; an ellipsis shows that something is missing.
func Short(s string, n int) string {
	if runes := []rune(s); len(runes) > n {
		return string(runes[:n-1]) + "…"
	}
	return s
}
