package rollback

// JSONStructure separates the structure of a JSON text from its strings, byte by byte and without
// memory, so that bounds are known before the text is decoded. It does not check that the text
// is JSON. Its zero value is at the beginning of a text.
type JSONStructure struct{ quoted, escaped bool }

// Next takes the next byte of the text, and reports whether it is outside of strings.
func (s *JSONStructure) Next(c byte) bool {
	switch {
	case s.escaped:
		s.escaped = false
	case s.quoted && c == '\\':
		s.escaped = true
	case c == '"':
		s.quoted = !s.quoted
	default:
		return !s.quoted
	}
	return false
}
