package main

import (
	"bytes"
	_ "embed"
	"fmt"
	"math"
	"strconv"
	"strings"
	"text/template"
)

//go:embed picture.svg.tmpl
var picture string

// The picture's two axes, in its own units. Both are logarithmic.
const (
	namesEnd     = 330.0
	alarmsLeft   = 345.0
	secondsLeft  = 690.0
	axisWidth    = 240.0
	mostAlarms   = 1000.0
	fewestAlarms = 0.5
	mostSeconds  = 1800.0
	leastSeconds = 10.0
	firstRow     = 44.0
	rowHeight    = 26.0
)

// judged is a kind of bad canary by which the picture compares the methods: a row of the tables of a title.
type judged struct{ Title, Row, Text string }

func judgedBy() []judged {
	return []judged{
		{"Errors", "10% fail", "One request in ten fails"},
		{"Latency", "all take 4.0 times as long", "All take four times as long"},
	}
}

// bar is a method's value: its length on the axis, and its text and where that begins.
type bar struct {
	Width, End float64
	Text       string
	Never      bool
}

// newBar returns a bar that begins at left, whose length is that of a value on a logarithmic axis.
func newBar(left, value, least, most float64, text string) bar {
	share := min(1, math.Log(max(value, least)/least)/math.Log(most/least))
	width := max(2, math.Round(10*axisWidth*share)/10)
	return bar{Width: width, End: left + width + 6, Text: text}
}

// row is a line of the picture: a heading, or a method with its false alarms and its seconds.
type row struct {
	Y, Below        float64
	Heading         string
	Name            string
	Alarms, Seconds bar
	Ours            bool
}

// Picture draws for how many of 1,000 healthy canaries of every kind each method fires, and after how many seconds for a bad one, as the
// tables in Markdown say, as an SVG. Its errors name the table, row or column that is missing.
func Picture(markdown string) ([]byte, error) {
	y := firstRow
	var rows []row
	for _, j := range judgedBy() {
		rows = append(rows, row{Y: y, Below: y + 14, Heading: j.Text})
		y += rowHeight
		methods, err := j.methods(markdown)
		if err != nil {
			return nil, fmt.Errorf("draw the tables: %w", err)
		}
		for _, m := range methods {
			m.Y, m.Below = y, y+14
			rows = append(rows, m)
			y += rowHeight
		}
	}
	t, err := template.New("picture").Parse(picture)
	if err != nil {
		return nil, fmt.Errorf("draw the tables: %w", err)
	}
	var svg bytes.Buffer
	err = t.Execute(&svg, map[string]any{
		"Height": y + 12, "NamesEnd": namesEnd, "AlarmsLeft": alarmsLeft, "SecondsLeft": secondsLeft, "Rows": rows,
	})
	if err != nil {
		return nil, fmt.Errorf("draw the tables: %w", err)
	}
	return svg.Bytes(), nil
}

// methods returns the methods at their documented thresholds, and then the rivals at those at which they fire for at most one of 1,000.
func (j judged) methods(markdown string) ([]row, error) {
	healthy, bad := tables(markdown, j.Title+": method"), tables(markdown, j.Title+": the canary")
	if len(healthy) != 1 || len(bad) != 2 {
		return nil, fmt.Errorf("%d tables of %s: method and %d of %s: the canary, want 1 and 2", len(healthy), j.Title, len(bad), j.Title)
	}
	equal, documented := bad[0], bad[1]
	var all []row
	for i, name := range documented.head[1:] {
		alarms, err := healthy[0].number(name, len(healthy[0].head)-1)
		if err != nil {
			return nil, err
		}
		seconds, err := documented.median(j.Row, i+1)
		if err != nil {
			return nil, err
		}
		text := strconv.FormatFloat(math.Round(alarms), 'f', -1, 64)
		all = append(all, row{Name: name, Ours: i == 0, Alarms: newBar(alarmsLeft, alarms, fewestAlarms, mostAlarms, text), Seconds: seconds})
	}
	for i, name := range equal.head[2:] {
		seconds, err := equal.median(j.Row, i+2)
		if err != nil {
			return nil, err
		}
		all = append(all, row{Name: name, Alarms: newBar(alarmsLeft, 1, fewestAlarms, mostAlarms, "at most 1"), Seconds: seconds})
	}
	return all, nil
}

// table is a table in Markdown: its head, and its rows by their first cell.
type table struct {
	head []string
	rows map[string][]string
}

// tables returns the tables whose head begins with a word.
func tables(markdown, first string) []table {
	var all []table
	inside := false
	for line := range strings.Lines(markdown) {
		cells := split(line)
		switch {
		case len(cells) == 0:
			inside = false
		case cells[0] == first:
			inside = true
			all = append(all, table{head: cells, rows: map[string][]string{}})
		case inside && !strings.HasPrefix(cells[0], "---"):
			all[len(all)-1].rows[cells[0]] = cells
		}
	}
	return all
}

func split(line string) []string {
	line = strings.TrimSpace(line)
	if !strings.HasPrefix(line, "|") {
		return nil
	}
	cells := strings.Split(strings.Trim(line, "|"), "|")
	for i := range cells {
		cells[i] = strings.TrimSpace(cells[i])
	}
	return cells
}

// cell returns the first word of a cell.
func (t table) cell(row string, column int) (string, error) {
	cells := t.rows[row]
	if column >= len(cells) {
		return "", fmt.Errorf("the table of %s has no row %q with %d columns", t.head[0], row, column+1)
	}
	first, _, _ := strings.Cut(cells[column], " ")
	return first, nil
}

// number returns the number with which a cell begins.
func (t table) number(row string, column int) (float64, error) {
	text, err := t.cell(row, column)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return 0, fmt.Errorf("the table of %s, %q: %w", t.head[0], row, err)
	}
	return n, nil
}

// median returns the median of the seconds in a cell.
func (t table) median(row string, column int) (bar, error) {
	if text, err := t.cell(row, column); err != nil || text == "never" {
		b := newBar(secondsLeft, mostSeconds, leastSeconds, mostSeconds, "never")
		b.Never = true
		return b, err
	}
	n, err := t.number(row, column)
	return newBar(secondsLeft, n, leastSeconds, mostSeconds, fmt.Sprintf("%.0f s", n)), err
}
