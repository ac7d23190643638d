package grafana

import (
	"fmt"
	"math"
	"strings"

	"github.com/upcommerce/backout/dashboards"
)

// Values describes the content of a panel in a line: the newest values of the first few
// series, or the first few rows of a table.
func (b *Board) Values(p Panel) string {
	const most = 6
	var all []string
	if p.Type == "table" {
		columns, rows := p.cells()
		for _, row := range rows {
			var pairs []string
			for i, cell := range row {
				pairs = append(pairs, columns[i]+" "+cell.text)
			}
			all = append(all, strings.Join(pairs, ", "))
		}
	} else {
		for i, s := range p.Series {
			text, _ := p.look(s.Name, i).of(s.Last().Value)
			if top := s.highest(); p.Type == "timeseries" && top > s.Last().Value {
				largest, _ := p.look(s.Name, i).of(top)
				text += " (at most " + largest + ")"
			}
			all = append(all, strings.TrimSpace(s.Name+" "+text))
		}
	}
	if n := len(all) - most; n > 0 {
		all = append(all[:most], fmt.Sprintf("and %d more", n))
	}
	return strings.Join(all, "; ")
}

func (s Series) highest() float64 {
	top := math.Inf(-1)
	for _, p := range s.Points {
		top = max(top, p.Value)
	}
	return top
}

// MayBeEmpty reports whether the panel's description says why it may be empty.
func MayBeEmpty(p dashboards.Panel) bool {
	return strings.Contains(p.Description, "Empty ") || p.FieldConfig.Defaults.NoValue != ""
}

// Table describes the content of the panels, one per line.
func (b *Board) Table() string {
	var text strings.Builder
	for _, p := range b.Panels {
		values := b.Values(p)
		switch {
		case values == "" && MayBeEmpty(p.Panel):
			values = "(empty, and the description says why)"
		case values == "":
			values = "(EMPTY)"
		}
		fmt.Fprintf(&text, "%-38s %s\n", p.Title, values)
	}
	return text.String()
}
