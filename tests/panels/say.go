package panels

import (
	"fmt"
	"math"
	"strings"

	"github.com/upcommerce/backout/dashboards"
)

// Values says in a line what the panel shows: the newest value of each series of
// the first few, or what the rows of a table hold.
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

// Excused reports whether the panel says why it may be empty.
func Excused(p dashboards.Panel) bool {
	return strings.Contains(p.Description, "Empty ") || p.FieldConfig.Defaults.NoValue != ""
}

// Table tells what every panel shows, one a line.
func (b *Board) Table() string {
	var text strings.Builder
	for _, p := range b.Panels {
		values := b.Values(p)
		switch {
		case values == "" && Excused(p.Panel):
			values = "(empty, and the description says why)"
		case values == "":
			values = "(EMPTY)"
		}
		fmt.Fprintf(&text, "%-38s %s\n", p.Title, values)
	}
	return text.String()
}
