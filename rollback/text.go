package rollback

import (
	"strings"
	"unicode"
)

// harmless replaces the characters that mislead a terminal, a log or a reader with spaces:
// control characters, line separators, changes of direction, and characters without a
// shape. Invalid UTF-8 becomes "?".
func harmless(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsGraphic(r) || unicode.Is(unicode.Other_Default_Ignorable_Code_Point, r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
}

// Clip returns s on one line and bounded to n runes, without the characters that mislead
// a terminal.
func Clip(s string, n int) string { return Short(harmless(s), n) }

// Printable returns s on one line, without the characters that mislead a terminal. Runs of
// white space become one space.
func Printable(s string) string { return strings.Join(strings.Fields(harmless(s)), " ") }

// Short bounds s to n runes; an ellipsis shows that something is missing.
func Short(s string, n int) string {
	if runes := []rune(s); len(runes) > n {
		return string(runes[:n-1]) + "…"
	}
	return s
}

// PrintableLines returns s without the characters that mislead a terminal; its lines and
// tabs stay.
func PrintableLines(s string) string {
	lines := strings.Split(s, "\n")
	for i, line := range lines {
		cells := strings.Split(line, "\t")
		for j, cell := range cells {
			cells[j] = harmless(cell)
		}
		lines[i] = strings.Join(cells, "\t")
	}
	return strings.Join(lines, "\n")
}
