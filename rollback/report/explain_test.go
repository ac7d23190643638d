package report_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
	"sigs.k8s.io/yaml"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/report"
	"github.com/upcommerce/backout/rollback/rollbacktest"
)

// TestExplain explains the records in testdata/explain. UPDATE=1 rewrites the
// explanations.
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
			if err := yaml.Unmarshal([]byte(rollbacktest.Section(archive, "record.yaml")), &r); err != nil {
				t.Fatal(err)
			}
			got := report.Explain(r).String()
			if os.Getenv("UPDATE") != "" {
				rollbacktest.SetSection(archive, "explanation", got)
				if err := os.WriteFile(file, txtar.Format(archive), 0o600); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(rollbacktest.Section(archive, "explanation"), got); diff != "" {
				t.Errorf("%s\nthe explanation has changed (-want +got):\n%s", archive.Comment, diff)
			}
		})
	}
}

// TestExplainSaysSomethingAboutEveryRecord: also about one of another version, or one
// that an operator has edited.
func TestExplainSaysSomethingAboutEveryRecord(t *testing.T) {
	for name, r := range map[string]rollback.Record{
		"empty":           {},
		"strange verdict": {Decisions: []rollback.Decision{{Verdict: "dance", Reason: "why not"}}},
		"strange outcome": {Outcome: "better", Rollback: &rollback.Step{}},
		"no signal":       {Key: rollbacktest.Shop(), Revision: 2, Shed: &rollback.Step{Done: rollbacktest.Now()}, Closed: rollbacktest.Now()},
	} {
		e := report.Explain(r)
		if e.Headline == "" || e.Advice.Text == "" || e.String() == "" {
			t.Errorf("%s: every record has a headline, an advice and a text: got %+v", name, e)
		}
	}
}
