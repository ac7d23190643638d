package serve

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/upcommerce/backout/rollback"
)

// The chart accepts every danger that backout does, and no other.
func TestTheChartAcceptsEveryDanger(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "charts", "backout", "values.schema.json"))
	if err != nil {
		t.Fatal(err)
	}
	var schema struct {
		Properties struct {
			Config struct {
				Properties struct {
					Allow struct {
						Items struct{ Enum []rollback.DangerKind }
					}
				}
			}
		}
	}
	if err := json.Unmarshal(text, &schema); err != nil {
		t.Fatal(err)
	}
	got, want := schema.Properties.Config.Properties.Allow.Items.Enum, rollback.AllowableDangers()
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("the schema's dangers are %v, want %v", got, want)
	}
}
