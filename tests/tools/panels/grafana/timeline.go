package grafana

import (
	"math"
	"slices"
	"strconv"
)

// timeline draws a row for each series, with a bar for each time in which the value
// stays the same.
func (b *Board) timeline(c *canvas, p Panel, at box) {
	names := 0.0
	for _, s := range p.Series {
		names = max(names, width(s.Name, 12))
	}
	names = min(names+14, at.w*0.3)
	inner := at.inset(names, 0, 12, 22)
	a := axes{inner, b.Start, b.End, 0, 1}
	b.times(c, a)
	high := inner.h / float64(len(p.Series))
	for i, s := range p.Series {
		y := inner.y + float64(i)*high
		c.text(inner.x-8, y+high/2+4, style{size: 12, color: bright, anchor: "end"}, shortened(s.Name, 12, names))
		l := p.look(s.Name, i)
		for from := 0; from < len(s.Points); {
			to := from
			for to+1 < len(s.Points) && s.Points[to+1].Value == s.Points[from].Value && s.Points[to+1].At.Sub(s.Points[to].At) <= b.step()*3/2 {
				to++
			}
			x, end := a.x(s.Points[from].At), a.x(s.Points[to].At.Add(b.step()))
			text, color := l.of(s.Points[from].Value)
			bar := box{x, y + high*0.08, min(end, inner.x+inner.w) - x, high * 0.84}
			c.rect(bar, color, 0.85)
			if width(text, 11) < bar.w-6 {
				c.text(x+5, y+high/2+4, style{size: 11, color: backdrop, anchor: "start"}, text)
			}
			from = to + 1
		}
	}
	b.annotations(c, a)
}

// heatmap draws buckets over time: the fuller a bucket, the brighter.
func (b *Board) heatmap(c *canvas, p Panel, at box) {
	rows := slices.Clone(p.Series)
	bound := func(s Series) float64 {
		v, err := strconv.ParseFloat(s.Labels["le"], 64)
		if err != nil {
			return math.Inf(1)
		}
		return v
	}
	slices.SortFunc(rows, func(x, y Series) int {
		if bound(x) < bound(y) {
			return -1
		}
		return 1
	})
	inner := at.inset(58, 0, 12, 22)
	a := axes{inner, b.Start, b.End, 0, 1}
	high := inner.h / float64(len(rows))
	cells := make([]map[int64]float64, len(rows))
	most, under := 0.0, map[int64]float64{}
	for i, s := range rows {
		cells[i] = map[int64]float64{}
		for _, point := range s.Points {
			k := point.At.UnixMilli()
			cells[i][k] = max(point.Value-under[k], 0)
			under[k] = point.Value
			most = max(most, cells[i][k])
		}
	}
	wide := inner.w * b.step().Seconds() / b.End.Sub(b.Start).Seconds()
	for i, s := range rows {
		y := inner.y + inner.h - float64(i+1)*high
		if i%2 == 0 || len(rows) < 8 {
			c.text(inner.x-6, y+4, style{size: 11, color: dim, anchor: "end"}, bucket(s.Labels["le"]))
		}
		for _, point := range s.Points {
			if v := cells[i][point.At.UnixMilli()]; v > 1e-9 {
				c.rect(seamless(box{a.x(point.At), y, min(wide, inner.x+inner.w-a.x(point.At)), high - 1}), hue("orange"), 0.15+0.85*math.Sqrt(v/max(most, 1)))
			}
		}
	}
	b.times(c, a)
	b.annotations(c, a)
}

func bucket(le string) string {
	v, err := strconv.ParseFloat(le, 64)
	if err != nil || math.IsInf(v, 1) {
		return "+Inf"
	}
	return format(v, "s", nil)
}
