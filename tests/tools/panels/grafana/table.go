package grafana

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
	c.line(at.x, at.y+22, at.x+at.w, at.y+22, edge)
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

// cells returns the content of a table after its transformations: the labels and the value
// of each query; series with equal labels share a row.
func (p Panel) cells() (columns []string, rows [][]cell) {
	fields, known := p.merged()
	rename := map[string]string{}
	for _, t := range p.Transformations {
		fields = slices.DeleteFunc(fields, func(f string) bool { return t.Options.ExcludeByName[f] })
		if len(t.Options.IndexByName) > 0 {
			slices.SortStableFunc(fields, func(x, y string) int { return t.Options.IndexByName[x] - t.Options.IndexByName[y] })
		}
		maps.Copy(rename, t.Options.RenameByName)
	}
	for _, f := range fields {
		columns = append(columns, cmp.Or(rename[f], f))
	}
	for _, key := range slices.Sorted(maps.Keys(known)) {
		var cells []cell
		for i, f := range fields {
			cells = append(cells, p.look(columns[i], 0).cell(known[key][f]))
		}
		rows = append(rows, cells)
	}
	p.sort(columns, rows)
	return columns, rows
}

// merged returns the fields in order of their names, and the rows by their labels.
func (p Panel) merged() (fields []string, rows map[string]map[string]cell) {
	rows = map[string]map[string]cell{}
	for _, s := range p.Series {
		key, err := json.Marshal(s.Labels)
		if err != nil {
			continue // not possible for a map of strings
		}
		row := rows[string(key)]
		if row == nil {
			row = map[string]cell{}
			rows[string(key)] = row
		}
		value := "Value"
		if len(p.Targets) > 1 {
			value += " #" + s.Ref
		}
		for name, text := range s.Labels {
			fields = append(fields, name)
			row[name] = cell{text: text, label: true}
		}
		fields = append(fields, value)
		row[value] = cell{value: s.Last().Value}
	}
	slices.Sort(fields)
	return slices.Compact(fields), rows
}

// cell returns the cell with its text and colour.
func (l look) cell(v cell) cell {
	v.color = bright
	if !v.label {
		v.text = format(v.value, l.Unit, l.Decimals)
		return v
	}
	if text, color, ok := l.mapped(v.text); ok {
		v.text, v.color = text, color
	}
	return v
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
