package report_test

import (
	"strings"
	"testing"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/report"
	"github.com/upcommerce/backout/rollback/report/reporttest"
)

// Helm finds a release in ConfigMaps only by HELM_DRIVER, so that every command of Helm in a
// report about one names it.
func TestCommandsNameHelmsDriver(t *testing.T) {
	ofHelm := 0
	for name, r := range reporttest.Records() {
		plain := report.Commands(&r)
		r.Storage = rollback.ConfigMaps
		for i, c := range report.Commands(&r) {
			text := c.Line.String()
			if was := plain[i].Line.String(); strings.Contains(was, "helm rollback") || strings.Contains(was, "helm history") {
				ofHelm++
				if strings.Count(text, "HELM_DRIVER=configmap helm") != 1 {
					t.Errorf("%s: Helm does not find the release with %q", name, text)
				}
			}
			if strings.Contains(text, "describe secret") || text == "" {
				t.Errorf("%s: there is no such Secret: %q", name, text)
			}
		}
	}
	if ofHelm < 5 {
		t.Errorf("only %d commands of Helm were compared", ofHelm)
	}
}
