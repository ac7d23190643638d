package grafana

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/upcommerce/backout/dashboards"
)

func TestValuesAreWrittenInTheirUnits(t *testing.T) {
	two := 2
	for _, tt := range []struct {
		value    float64
		unit     string
		decimals *int
		want     string
	}{
		{0.0213, "percentunit", nil, "2.13%"},
		{20, "percent", nil, "20%"},
		{0.0375, "s", nil, "37.5 ms"},
		{133.67, "s", &two, "2.23 min"},
		{0.0004, "s", nil, "400 µs"},
		{12.345, "reqps", nil, "12.3 req/s"},
		{1.0667, "short", new(int), "1"},
	} {
		if got := format(tt.value, tt.unit, tt.decimals); got != tt.want {
			t.Errorf("%g in %s: %q, want %q", tt.value, tt.unit, got, tt.want)
		}
	}
}

func TestTicksAreRound(t *testing.T) {
	for _, tt := range []struct {
		high float64
		want []float64
	}{{1.08, []float64{0, 0.5, 1}}, {100, []float64{0, 25, 50, 75, 100}}, {54, []float64{0, 20, 40}}} {
		if got := ticks(0, tt.high); !slices.Equal(got, tt.want) {
			t.Errorf("up to %g: %v, want %v", tt.high, got, tt.want)
		}
	}
}

// The shipped table of seconds: a row joins the results of both queries, steps have their texts, and the first step comes first.
func TestTablesAreMergedRenamedAndSorted(t *testing.T) {
	all, err := dashboards.All()
	if err != nil {
		t.Fatal(err)
	}
	panels := all["backout-operations"].Panels
	i := slices.IndexFunc(panels, func(p dashboards.Panel) bool { return p.Title == "Seconds from the alert to each step" })
	if i < 0 {
		t.Fatal("the panel is missing")
	}
	p := Panel{Panel: panels[i]}
	add := func(ref, step string, value float64) {
		p.Series = append(p.Series, Series{Ref: ref, Labels: map[string]string{"step": step}, Points: []Point{{time.Time{}, value}}})
	}
	add("A", "verify", 120)
	add("A", "shed", 0.03)
	add("B", "shed", 0.05)
	add("B", "verify", 300)
	b := &Board{}
	if got, want := b.Values(p), "step weight zero, p50 30.00 ms, p99 50.00 ms; step verified, p50 2.00 min, p99 5.00 min"; got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
}

func TestAnEmptyPanelIsMarkedAsEmpty(t *testing.T) {
	b := &Board{Panels: []Panel{{Panel: dashboards.Panel{Title: "Requests", Type: "timeseries", Description: "All of them."}}}}
	if !strings.Contains(b.Table(), "(EMPTY)") || !strings.Contains(string(b.Draw("")), ">No data<") {
		t.Errorf("an empty panel is not marked as empty:\n%s\n%s", b.Table(), b.Draw(""))
	}
	b.Panels[0].Description += " Empty without requests."
	if strings.Contains(b.Table(), "(EMPTY)") {
		t.Error("an empty panel whose description says why is marked as if it did not")
	}
}

func TestASeriesIsNamedByItsLabels(t *testing.T) {
	labels := map[string]string{"track": "canary", "version": "v3"}
	for format, want := range map[string]string{"{{track}} {{version}}": "canary v3", "": "track=canary, version=v3", "1m {{version}} {{pod}}": "1m v3"} {
		if got := legend(format, labels); got != want {
			t.Errorf("%q: %q, want %q", format, got, want)
		}
	}
}
