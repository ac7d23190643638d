package main

import (
	"os"
	"strings"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	relabeling "github.com/prometheus/prometheus/model/relabel"
)

// relabelings reads a list of docs/routers.md, which follows a mark of that name.
func relabelings(t *testing.T, name string) []*relabeling.Config {
	t.Helper()
	page, err := os.ReadFile("../../../docs/routers.md")
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(page), "<!-- relabel: "+name+" -->\n\n```yaml\n")
	block, _, found := strings.Cut(after, "```")
	if !found {
		t.Fatalf("docs/routers.md has no list %s", name)
	}
	var all []*relabeling.Config
	for line := range strings.Lines(block) {
		field, value, _ := strings.Cut(strings.TrimLeft(strings.TrimSpace(line), "- "), ": ")
		if field == "sourceLabels" {
			c := relabeling.DefaultRelabelConfig
			c.NameValidationScheme = model.UTF8Validation
			for source := range strings.SplitSeq(strings.Trim(value, "[]"), ", ") {
				c.SourceLabels = append(c.SourceLabels, model.LabelName(source))
			}
			all = append(all, &c)
			continue
		}
		switch field {
		case "regex":
			all[len(all)-1].Regex = relabeling.MustNewRegexp(value)
		case "targetLabel":
			all[len(all)-1].TargetLabel = value
		case "replacement":
			all[len(all)-1].Replacement = value
		}
	}
	return all
}

// The rules read the label track; docs/routers.md makes it of another one.
func TestRelabelingsOfAnotherTrackLabel(t *testing.T) {
	for role, want := range map[string]string{"canary": "canary", "preview": "canary", "baseline": "baseline", "live": "stable", "": ""} {
		target := labels.NewBuilder(labels.FromStrings("__meta_kubernetes_pod_label_role", role))
		if kept := relabeling.ProcessBuilder(target, relabelings(t, "target")...); !kept || target.Get("track") != want {
			t.Errorf("a target with role=%q: track=%q, want %q", role, target.Get("track"), want)
		}
		for _, metric := range []string{"kube_pod_labels", "kube_service_labels", "kube_pod_info"} {
			series := labels.NewBuilder(labels.FromStrings("__name__", metric, "label_role", role))
			if metric == "kube_pod_info" {
				want = ""
			}
			if kept := relabeling.ProcessBuilder(series, relabelings(t, "kube-state-metrics")...); !kept || series.Get("label_track") != want {
				t.Errorf("%s with role=%q: label_track=%q, want %q", metric, role, series.Get("label_track"), want)
			}
		}
	}
}
