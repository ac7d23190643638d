package exercise

import (
	"bytes"
	_ "embed"
	"fmt"
	"math"
	"text/template"
	"time"
)

//go:embed picture.svg.tmpl
var picture string

// before is the average duration of a rollback that UpCommerce reports.
const before = 45 * time.Minute

// The picture's axis, in its own units: logarithmic, from a second to an hour.
const (
	axisLeft  = 300.0
	axisWidth = 660.0
	axisEnd   = 3600.0 // seconds
	firstRow  = 48.0
	rowHeight = 32.0
)

// along returns the position of a number of seconds on the axis.
func along(seconds float64) float64 {
	return math.Round(10*(axisLeft+axisWidth*math.Log(max(seconds, 1))/math.Log(axisEnd))) / 10
}

// Picture draws the seconds of bad canaries next to the duration of a rollback before, as
// an SVG. It returns an error only if its template is wrong.
func Picture(all []Seconds) ([]byte, error) {
	type tick struct {
		X    float64
		Text string
	}
	type row struct {
		Seconds
		Y, Text, Open, At, Closed float64
	}
	floor := firstRow + rowHeight*float64(len(all)+1)
	var ticks []tick
	for _, t := range []struct {
		seconds float64
		text    string
	}{{1, "1 s"}, {10, "10 s"}, {60, "1 min"}, {600, "10 min"}, {before.Seconds(), fmt.Sprintf("%.0f min", before.Minutes())}} {
		ticks = append(ticks, tick{along(t.seconds), t.text})
	}
	var rows []row
	for i, s := range all {
		y := firstRow + rowHeight*float64(i+1)
		zero, back := along(s.Zero), along(s.RolledBack)
		rows = append(rows, row{s, y, y + 14, tenth(zero - axisLeft), zero, tenth(back - zero)})
	}
	t, err := template.New("picture").Parse(picture)
	if err != nil {
		return nil, fmt.Errorf("draw the seconds: %w", err)
	}
	var svg bytes.Buffer
	err = t.Execute(&svg, map[string]any{
		"Height": floor + 40, "Floor": floor, "Legend": floor + 12, "LegendText": floor + 22,
		"Before": tenth(along(before.Seconds()) - axisLeft), "Ticks": ticks, "Rows": rows,
	})
	if err != nil {
		return nil, fmt.Errorf("draw the seconds: %w", err)
	}
	return svg.Bytes(), nil
}

func tenth(x float64) float64 { return math.Round(10*x) / 10 }
