package cli

import (
	"encoding/json"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/upcommerce/backout/internal/version"
)

func TestTheVersionCommand(t *testing.T) {
	want := version.Current()
	for _, tt := range []struct {
		args string
		read func(text string) (version.Build, error)
	}{
		{"version -o json", func(text string) (b version.Build, err error) { return b, json.Unmarshal([]byte(text), &b) }},
		{"version -o yaml", func(text string) (b version.Build, err error) { return b, yaml.UnmarshalStrict([]byte(text), &b) }},
	} {
		text, err := runProgram(t, "", append([]string{"backout"}, strings.Fields(tt.args)...)...)
		if err != nil {
			t.Fatalf("%s needs no cluster: %v", tt.args, err)
		}
		if got, err := tt.read(text); err != nil || got != want {
			t.Errorf("%s: got %+v, %v; want %+v", tt.args, got, err, want)
		}
	}
	if text, err := runProgram(t, "", "backout", "version"); err != nil || text != want.String()+"\n" {
		t.Errorf("version prints one line: got %q, %v; want %q", text, err, want)
	}
	if _, err := runProgram(t, "", "backout", "version", "-o", "xml"); err == nil || !strings.Contains(err.Error(), "want json or yaml") {
		t.Errorf("another format is refused: got %v", err)
	}
}
