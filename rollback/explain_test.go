package rollback_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
	"sigs.k8s.io/yaml"

	"github.com/upcommerce/backout/rollback"
)

// TestExplain tells the records in testdata/explain. UPDATE=1 rewrites what is told.
func TestExplain(t *testing.T) {
	files, err := filepath.Glob("testdata/explain/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no records: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var r rollback.Record
			if err := yaml.Unmarshal([]byte(section(archive, "record.yaml")), &r); err != nil {
				t.Fatal(err)
			}
			got := rollback.Explain(r).String()
			if os.Getenv("UPDATE") != "" {
				setSection(archive, "explanation", got)
				if err := os.WriteFile(file, txtar.Format(archive), 0o600); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(section(archive, "explanation"), got); diff != "" {
				t.Errorf("%s\nit is told in another way (-want +got):\n%s", archive.Comment, diff)
			}
		})
	}
}

// TestExplainKnowsLittle: a record of another version, or one mended by hand, is
// told as far as it goes.
func TestExplainKnowsLittle(t *testing.T) {
	for name, r := range map[string]rollback.Record{
		"empty":           {},
		"strange verdict": {Decisions: []rollback.Decision{{Verdict: "dance", Reason: "why not"}}},
		"strange outcome": {Outcome: "better", Rollback: &rollback.Step{}},
		"no accusation":   {Key: shop(), Revision: 2, Shed: &rollback.Step{Done: now()}, Closed: now()},
	} {
		e := rollback.Explain(r)
		if e.Headline == "" || e.Advice.Text == "" || e.String() == "" {
			t.Errorf("%s: something is told of every record: got %+v", name, e)
		}
	}
}
