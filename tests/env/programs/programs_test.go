package programs

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func TestVersionsEqualThoseInGoMod(t *testing.T) {
	for _, v := range []struct{ module, requirement string }{
		{"..", "k8s.io/kubernetes " + Kubernetes},
		{"alertmanager", "github.com/prometheus/alertmanager v" + AlertmanagerVersion},
		// Prometheus' modules are numbered v0.MAJORMINOR.PATCH.
		{"prometheus", "github.com/prometheus/prometheus v0." + strings.Replace(PrometheusVersion, ".", "", 1)},
	} {
		mod, err := os.ReadFile(filepath.Join("..", v.module, "go.mod"))
		if err != nil {
			t.Fatal(err)
		}
		if requirement := regexp.MustCompile(`\t` + regexp.QuoteMeta(v.requirement) + `( // indirect)?\n`); !requirement.Match(mod) {
			t.Errorf("the go.mod of tests/env/%s does not require %s", v.module, v.requirement)
		}
	}
}
