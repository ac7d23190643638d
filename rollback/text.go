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

// escapedWeight is for how many runes one counts that a record's YAML has as an escape of
// ten bytes, such as "\U0001F680". The others have three bytes at most.
const escapedWeight = 4

// Clip returns s on one line and bounded to n runes, without the characters that mislead
// a terminal. One beyond U+FFFF, such as a picture, counts as four.
func Clip(s string, n int) string {
	s = harmless(s)
	left := n
	for _, r := range s {
		left -= weightOf(r)
	}
	if left >= 0 {
		return s
	}
	left = n - 1 // for the ellipsis
	for i, r := range s {
		if left -= weightOf(r); left < 0 {
			return s[:i] + "…"
		}
	}
	return s
}

func weightOf(r rune) int {
	if r > '\uFFFF' {
		return escapedWeight
	}
	return 1
}

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
