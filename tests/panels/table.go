package panels

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"strings"
)

// table draws the newest values as rows.
func (b *Board) table(c *canvas, p Panel, at box) {
	columns, rows := p.cells()
	wide := at.w / float64(len(columns))
	for i, name := range columns {
		c.text(at.x+float64(i)*wide+6, at.y+14, style{size: 12, color: hue("blue"), anchor: "start", bold: true}, shortened(name, 12, wide-6))
	}
	c.line(at.x, at.y+22, at.x+at.w, at.y+22, edge, "")
	for n, row := range rows {
		y := at.y + 40 + float64(n)*21
		if y > at.y+at.h-4 {
			return
		}
		for i, cell := range row {
			c.text(at.x+float64(i)*wide+6, y, style{size: 12, color: cell.color, anchor: "start"}, shortened(cell.text, 12, wide-6))
		}
	}
}

type cell struct {
	text, color string
	value       float64
	label       bool
}

// cells are what a table shows, after its transformations: the labels and, of each
// query, the value; rows of equal labels are one.
func (p Panel) cells() (columns []string, rows [][]cell) {
	var fields []string
	known := map[string]map[string]cell{}
	for _, s := range p.Series {
		key, err := json.Marshal(s.Labels)
		if err != nil {
			continue // not possible: a map of texts
		}
		if known[string(key)] == nil {
			known[string(key)] = map[string]cell{}
		}
		value := "Value"
		if len(p.Targets) > 1 {
			value += " #" + s.Ref
		}
		for name, text := range s.Labels {
			fields = append(fields, name)
			known[string(key)][name] = cell{text: text, label: true}
		}
		fields = append(fields, value)
		known[string(key)][value] = cell{value: s.Last().Value}
	}
	slices.Sort(fields)
	fields = slices.Compact(fields)
	rename := map[string]string{}
	for _, t := range p.Transformations {
		fields = slices.DeleteFunc(fields, func(f string) bool { return t.Options.ExcludeByName[f] })
		if len(t.Options.IndexByName) > 0 {
			slices.SortStableFunc(fields, func(x, y string) int { return t.Options.IndexByName[x] - t.Options.IndexByName[y] })
		}
		for from, to := range t.Options.RenameByName {
			rename[from] = to
		}
	}
	for _, f := range fields {
		if name := rename[f]; name != "" {
			f = name
		}
		columns = append(columns, f)
	}
	for _, key := range slices.Sorted(maps.Keys(known)) {
		row := known[key]
		var cells []cell
		for i, f := range fields {
			v := row[f]
			l := p.look(columns[i], 0)
			if v.label {
				v.color = bright
				if text, color, ok := l.mapped(v.text); ok {
					v.text, v.color = text, color
				}
			} else {
				v.text, v.color = format(v.value, l.Unit, l.Decimals), bright
			}
			cells = append(cells, v)
		}
		rows = append(rows, cells)
	}
	p.sort(columns, rows)
	return columns, rows
}

func (p Panel) sort(columns []string, rows [][]cell) {
	by := 0
	if len(p.Options.SortBy) > 0 {
		by = max(slices.Index(columns, p.Options.SortBy[0].DisplayName), 0)
	}
	slices.SortStableFunc(rows, func(x, y []cell) int {
		if x[by].label {
			return strings.Compare(x[by].text, y[by].text)
		}
		return cmp.Compare(x[by].value, y[by].value)
	})
}
