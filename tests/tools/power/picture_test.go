package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

func TestThePictureShowsTheTables(t *testing.T) {
	top := filepath.Join("..", "..", "..")
	readme, err := os.ReadFile(filepath.Join(top, "rules", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	want, err := Picture(string(readme))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(top, "docs", "alarms.svg")
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(file, want, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(file); err != nil || !bytes.Equal(got, want) {
		t.Errorf("docs/alarms.svg differs from the tables of rules/README.md (%v); UPDATE=1 redraws it", err)
	}
	if _, err := Picture("| Errors: method | of every kind |\n"); err == nil {
		t.Error("a picture is drawn without tables")
	}
}
