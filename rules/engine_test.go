package rules_test

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/upcommerce/backout/rules"
)

func TestEngines(t *testing.T) {
	plain := assemble(t, rules.Options{})
	if !bytes.Equal(assemble(t, rules.Options{Engine: "prometheus"}), plain) {
		t.Error("prometheus is the default")
	}
	if header, _, _ := strings.Cut(string(assemble(t, rules.Options{Engine: "thanos"})), "\n"); !strings.HasSuffix(header, "--preset app --engine thanos") {
		t.Errorf("the file has to say how it is generated: %s", header)
	}
	for _, tt := range []struct {
		o    rules.Options
		want string
	}{
		{rules.Options{Engine: "mimir"}, "use one of prometheus, thanos, victoriametrics"},
		{rules.Options{Engine: "victoriametrics", Preset: "app-native"}, "let the application export classic buckets and use --preset app"},
	} {
		if b, err := rules.Assemble(tt.o); err == nil || !strings.Contains(err.Error(), tt.want) || b != nil {
			t.Errorf("%+v: %v, want an error with %q", tt.o, err, tt.want)
		}
	}
}

// stagedFile is a rule file for vmalert.
type stagedFile struct {
	Groups []struct {
		Name, Interval string
		Offset         string `json:"eval_offset"`
		Params         map[string][]string
		Rules          []rule
	}
}

// A rule is evaluated after all that it reads, five seconds later at least, and each of its selectors looks back at the moment of the
// others. The file has the same rules as that for Prometheus.
func TestVMAlertSeesWhatARuleReads(t *testing.T) {
	for _, preset := range rules.Presets() {
		if preset == "app-native" {
			continue
		}
		want, windows := map[string]int{}, map[string]string{}
		for _, r := range parse(t, assemble(t, rules.Options{Preset: preset})) {
			want[r.Record+r.Alert]++
			windows[r.Alert] = r.Annotations["window"]
		}
		var f stagedFile
		if err := yaml.UnmarshalStrict(assemble(t, rules.Options{Preset: preset, Engine: "victoriametrics"}), &f); err != nil {
			t.Fatal(err)
		}
		wrote := map[string]time.Duration{}
		for i, g := range f.Groups {
			at := time.Duration(i+1) * 5 * time.Second
			if g.Interval != "15s" || g.Offset != (at%(15*time.Second)).String() {
				t.Errorf("%s: group %s is evaluated %s after each %s, and its rules look back at multiples of 15s", preset, g.Name, g.Offset, g.Interval)
			}
			if !slices.Equal(g.Params["nocache"], []string{"1"}) {
				t.Errorf("%s: VictoriaMetrics shows group %s samples that are 30 seconds old", preset, g.Name)
			}
			for _, r := range g.Rules {
				want[r.Record+r.Alert]--
				checkOffsets(t, r, at, wrote)
				if short, err := time.ParseDuration(windows[r.Alert]); err == nil && r.Annotations["window"] != fmt.Sprintf("%ds", (short+at)/time.Second) {
					t.Errorf("%s looks back %s and is evaluated %s later: its window is not %s", r.Alert, short, at, r.Annotations["window"])
				}
			}
			for _, r := range g.Rules {
				wrote[r.Record+r.Alert] = at
			}
		}
		for name, n := range want {
			if n != 0 {
				t.Errorf("%s: %s is %d times more often in the file for Prometheus", preset, name, n)
			}
		}
	}
}

// checkOffsets checks the selectors of a rule that is evaluated at a time after the moment that it is about, given the times at which those
// before it are.
func checkOffsets(t *testing.T, r rule, at time.Duration, wrote map[string]time.Duration) {
	t.Helper()
	for _, m := range regexp.MustCompile(`(\w+:[\w:]+|kube_\w+|\w+_total\{[^}]*\})(?:\{[^}]*\})?(?:\[\w+\])?( offset \w+)?`).FindAllStringSubmatch(r.Expr, -1) {
		back, err := time.ParseDuration(strings.TrimPrefix(m[2], " offset "))
		if err != nil {
			t.Errorf("%s%s: %s has no offset", r.Record, r.Alert, m[0])
			continue
		}
		written, ok := wrote[m[1]]
		if strings.Contains(m[1], ":") && !ok && !strings.HasPrefix(m[1], "track:http_duration") && !strings.HasPrefix(m[1], "canary:http_duration") {
			t.Errorf("%s%s reads %s, which no earlier group records", r.Record, r.Alert, m[1])
		}
		if moment := at - back; moment > written || moment < written-6*time.Minute || moment%time.Second != 0 && !strings.HasSuffix(m[2], "1ms") {
			t.Errorf("%s%s looks with %q at %s, and that is written at %s", r.Record, r.Alert, m[0], moment, written)
		}
	}
}

// MetricsQL's increase() counts from the sample before its window and does not extrapolate: the correction would take away what nothing has
// added.
func TestMetricsQLHasItsOwnIncrease(t *testing.T) {
	for _, preset := range rules.Presets() {
		if preset == "app-native" {
			continue
		}
		comments := regexp.MustCompile(`(?m)^ *#.*$`)
		b := comments.ReplaceAllString(string(assemble(t, rules.Options{Preset: preset, Engine: "victoriametrics"})), "")
		for _, wrong := range regexp.MustCompile(`\b(increase|changes|rate|delta|irate|idelta|deriv|predict_linear|resets|histogram_count|histogram_sum)\(`).FindAllString(b, -1) {
			t.Errorf("%s: %s has another meaning in MetricsQL, or none", preset, wrong)
		}
		if got := strings.Count(b, "increase_prometheus("); got < 4 {
			t.Errorf("%s counts requests %d times with increase_prometheus", preset, got)
		}
	}
}
