package cli

import (
	"io"
	"sync"
	"unicode/utf8"

	"github.com/upcommerce/backout/rollback"
)

// terminal writes texts without the characters that mislead a terminal: texts of records,
// alerts and errors come from other systems. Everything that the program prints passes it,
// the log too. Lines and tabs stay.
type terminal struct {
	to io.Writer

	mu sync.Mutex
	// begun is the beginning of a character that the next Write continues.
	begun []byte
}

// Write implements io.Writer.
func (t *terminal) Write(text []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := append(t.begun, text...)
	end := len(all) - begunBytes(all)
	t.begun = append([]byte(nil), all[end:]...)
	if _, err := io.WriteString(t.to, rollback.PrintableLines(string(all[:end]))); err != nil {
		return 0, err
	}
	return len(text), nil
}

// begunBytes is how many bytes at the end of text begin a character without ending it.
func begunBytes(text []byte) int {
	for n := 1; n < utf8.UTFMax && n <= len(text); n++ {
		if last := text[len(text)-n:]; utf8.RuneStart(last[0]) {
			if utf8.FullRune(last) {
				return 0
			}
			return n
		}
	}
	return 0
}
