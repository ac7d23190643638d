package rollback

// Quote is quote, for tests.
func Quote(word string) string { return quote(word) }

// Words returns the words of the command's line, for tests.
func (c Command) Words() []string {
	words, _ := splitLine(c.line)
	return words
}
