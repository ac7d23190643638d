package cli

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/sethvargo/go-envconfig"

	"github.com/upcommerce/backout/rollback/report/reporttest"
)

func TestATerminalGetsNoControlCharacters(t *testing.T) {
	for text, want := range map[string]string{
		"a table\tin\ncolumns\n": "a table\tin\ncolumns\n", "Wörter, 語, 👍": "Wörter, 語, 👍", "\x1b[2Jx": " [2Jx", "a\u009bb": "a b", "a\rb": "a b",
		"a\u202eb\u2066c": "a b c", "a\u200bb": "a b", "a\xffb": "a?b", `{"a":"` + "\u009b" + `"}` + "\n": `{"a":" "}` + "\n",
	} {
		for cut := range len(text) { // a character may arrive in two parts
			var out bytes.Buffer
			to := &terminal{to: &out}
			for _, part := range []string{text[:cut], text[cut:]} {
				if n, err := io.WriteString(to, part); err != nil || n != len(part) {
					t.Fatalf("%q is written: got %d, %v", part, n, err)
				}
			}
			if out.String() != want {
				t.Errorf("%q, cut at %d, is printed as %q: got %q", text, cut, want, out.String())
			}
		}
	}
}

// TestEverythingIsPrintedThroughTheTerminal has a record's texts in an error and in the
// output of a command.
func TestEverythingIsPrintedThroughTheTerminal(t *testing.T) {
	files := make([]*os.File, 2)
	for i := range files {
		f, err := os.CreateTemp(t.TempDir(), "")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = f.Close() }()
		files[i] = f
	}
	stdout, stderr := os.Stdout, os.Stderr
	os.Stdout, os.Stderr = files[0], files[1]
	program := New(envconfig.MapLookuper(nil), []string{"backout", "records"})
	os.Stdout, os.Stderr = stdout, stderr
	command, _, err := program.Find([]string{"records"})
	if err != nil {
		t.Fatal(err)
	}
	hostile := strings.Join(reporttest.Poisons(), " ")
	program.PrintErrln("backout:", errors.New(hostile))
	if _, err := io.WriteString(command.OutOrStdout(), hostile+"\n"); err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		text, err := os.ReadFile(f.Name())
		if err != nil {
			t.Fatal(err)
		}
		if c := reporttest.Misleading(string(text)); c != "" || len(text) < 50 {
			t.Errorf("the program prints %q: %q", c, text)
		}
	}
}

// Names that no release can have become part of no request, error or command.
func TestARefusedNameIsQuoted(t *testing.T) {
	for _, name := range []string{"shop/$(reboot)", "shop/-x", "shop/a b", "shop/\x1b[2J", "Shop/web", "shop/web; reboot", "-n/web"} {
		_, err := parseKey(name)
		if err == nil || reporttest.Misleading(err.Error()) != "" {
			t.Errorf("%q is refused, in quotes: got %v", name, err)
		}
	}
}
