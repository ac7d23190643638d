package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The program in the image reports the version by which the chart asks for the image.
func TestTheProgramReportsTheChartsVersion(t *testing.T) {
	_, text := programOf(t, imageOf(t, "backout"), "backout")
	program := filepath.Join(t.TempDir(), "backout")
	if err := os.WriteFile(program, []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), program, "version").CombinedOutput()
	if want := "backout " + spec(t, "backout").Refs[0].Tag() + " (commit "; err != nil || !strings.HasPrefix(string(out), want) {
		t.Errorf("backout version prints %q, %v; want %q at the beginning", out, err, want)
	}
}
