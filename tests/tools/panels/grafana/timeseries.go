package grafana

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// axes maps times and values to positions.
type axes struct {
	at         box
	start, end time.Time
	low, high  float64
}

func (a axes) x(t time.Time) float64 {
	return a.at.x + a.at.w*t.Sub(a.start).Seconds()/a.end.Sub(a.start).Seconds()
}

func (a axes) y(v float64) float64 {
	return a.at.y + a.at.h*(1-(min(max(v, a.low), a.high)-a.low)/(a.high-a.low))
}

// timeSeries draws lines or stacked bars, with axes and a legend.
func (b *Board) timeSeries(c *canvas, p Panel, at box) {
	looks := make([]look, len(p.Series))
	var left, right []int
	for i, s := range p.Series {
		if looks[i] = p.look(s.Name, i); looks[i].right {
			right = append(right, i)
		} else {
			left = append(left, i)
		}
	}
	inner := at.inset(58, 4, 12, 42)
	if len(right) > 0 {
		inner.w -= 40
	}
	a := axes{inner, b.Start, b.End, 0, p.highest(left)}
	if m := p.FieldConfig.Defaults.Max; m != nil {
		a.high = *m
	}
	b.grid(c, a, p.FieldConfig.Defaults.Unit)
	below := stack{step: b.step(), tops: make(map[int64]float64)}
	for _, i := range left {
		if p.stacked() {
			below.bars(c, a, p.Series[i], looks[i])
		} else {
			curve(c, a, p.Series[i], looks[i])
		}
	}
	if len(right) > 0 {
		r := axes{inner, b.Start, b.End, 0, p.highest(right)}
		if m := looks[right[0]].Max; m != nil {
			r.high = *m
		}
		for _, tick := range ticks(r.low, r.high) {
			c.text(inner.x+inner.w+6, r.y(tick)+4, style{size: 11, color: dim, anchor: "start"}, format(tick, looks[right[0]].Unit, nil))
		}
		for _, i := range right {
			curve(c, r, p.Series[i], looks[i])
		}
	}
	b.annotations(c, a)
	b.legend(c, p, looks, box{at.x, at.y + at.h - 18, at.w, 18})
}

// stacked reports whether each series is drawn on top of those before it.
func (p Panel) stacked() bool {
	c := p.FieldConfig.Defaults.Custom
	return c != nil && c.Stacking != nil && c.Stacking.Mode == "normal"
}

// highest returns the top of an axis for some of the series, which is a little above the
// largest value.
func (p Panel) highest(which []int) float64 {
	top, sums := 0.0, map[int64]float64{}
	for _, i := range which {
		for _, point := range p.Series[i].Points {
			v := point.Value
			if p.stacked() {
				sums[point.At.UnixMilli()] += v
				v = sums[point.At.UnixMilli()]
			}
			top = max(top, v)
		}
	}
	if top == 0 {
		return 1
	}
	return top * 1.08
}

// grid draws the axes' lines with values and times.
func (b *Board) grid(c *canvas, a axes, unit string) {
	for _, tick := range ticks(a.low, a.high) {
		y := a.y(tick)
		c.line(a.at.x, y, a.at.x+a.at.w, y, grid)
		c.text(a.at.x-6, y+4, style{size: 11, color: dim, anchor: "end"}, format(tick, unit, nil))
	}
	b.times(c, a)
}

// times writes the times under an axis.
func (b *Board) times(c *canvas, a axes) {
	every := 30 * time.Second
	for b.End.Sub(b.Start)/every > time.Duration(a.at.w/75) {
		every *= 2
	}
	for t := b.Start.Truncate(every).Add(every); t.Before(b.End); t = t.Add(every) {
		x := a.x(t)
		c.line(x, a.at.y, x, a.at.y+a.at.h, grid)
		if x < a.at.x+26 || x > a.at.x+a.at.w-22 {
			continue // the text would leave the panel
		}
		c.text(x, a.at.y+a.at.h+15, style{size: 11, color: dim, anchor: "middle"}, t.UTC().Format("15:04:05"))
	}
}

// annotations draws the annotations.
func (b *Board) annotations(c *canvas, a axes) {
	for _, t := range b.Annotations {
		x := a.x(t)
		c.line(x, a.at.y, x, a.at.y+a.at.h, hue("purple")+` stroke-dasharray="3 3"`)
		c.put(`<path d="M%.1f %.1f l-4 6 h8 z" fill="%s"/>`, x, a.at.y+a.at.h, hue("purple"))
	}
}

// curve draws a line, interrupted where points are missing.
func curve(c *canvas, a axes, s Series, l look) {
	var path, area strings.Builder
	usual := time.Duration(math.MaxInt64)
	for i := 1; i < len(s.Points); i++ {
		usual = min(usual, s.Points[i].At.Sub(s.Points[i-1].At))
	}
	began := 0.0
	for i, p := range s.Points {
		x, y := a.x(p.At), a.y(p.Value)
		switch {
		case i == 0 || p.At.Sub(s.Points[i-1].At) > usual*3/2:
			if i > 0 {
				fmt.Fprintf(&area, "V%.1f H%.1f Z ", a.y(a.low), began)
			}
			fmt.Fprintf(&path, "M%.1f %.1f ", x, y)
			fmt.Fprintf(&area, "M%.1f %.1f L%.1f %.1f ", x, a.y(a.low), x, y)
			began = x
		case l.stepped:
			fmt.Fprintf(&path, "H%.1f V%.1f ", x, y)
			fmt.Fprintf(&area, "H%.1f V%.1f ", x, y)
		default:
			fmt.Fprintf(&path, "L%.1f %.1f ", x, y)
			fmt.Fprintf(&area, "L%.1f %.1f ", x, y)
		}
	}
	if l.fill > 0 {
		c.put(`<path d="%sV%.1f H%.1f Z" fill="%s" fill-opacity="%.2f"/>`, area.String(), a.y(a.low), began, l.hue(), float64(l.fill)/100)
	}
	dash := ""
	if l.dashed {
		dash = ` stroke-dasharray="8 6"`
	}
	c.put(`<path d="%s" fill="none" stroke="%s" stroke-width="%.1f" stroke-linejoin="round"%s/>`, path.String(), l.hue(), float64(l.width), dash)
	if len(s.Points) < 40 && l.Custom != nil && l.Custom.ShowPoints == "always" {
		for _, p := range s.Points {
			c.put(`<circle cx="%.1f" cy="%.1f" r="2.5" fill="%s"/>`, a.x(p.At), a.y(p.Value), l.hue())
		}
	}
}

// stack has the sums of the series that are already drawn, by the time in milliseconds.
type stack struct {
	step time.Duration
	tops map[int64]float64
}

// bars draws a series on top of those that are already drawn.
func (below stack) bars(c *canvas, a axes, s Series, l look) {
	wide := a.at.w * below.step.Seconds() / a.end.Sub(a.start).Seconds()
	if l.Custom.DrawStyle == "bars" {
		wide = max(wide*0.9, 3)
	}
	for _, p := range s.Points {
		k := p.At.UnixMilli()
		low := a.y(below.tops[k])
		below.tops[k] += p.Value
		high := a.y(below.tops[k])
		if low-high > 0.2 {
			c.rect(seamless(box{a.x(p.At) - wide/2, high, wide, low - high}), l.hue(), float64(max(l.fill, 20))/100)
		}
	}
}

// legend names the series.
func (b *Board) legend(c *canvas, p Panel, looks []look, at box) {
	x := at.x + 8
	for i, s := range p.Series {
		name := s.Name
		room := at.w
		if i < len(p.Series)-1 {
			room -= 70 // for the number of series that are left out
		}
		if wide := width(name, 11) + 28; x+wide > at.x+room {
			c.text(x, at.y+11, style{size: 11, color: dim, anchor: "start"}, fmt.Sprintf("and %d more", len(p.Series)-i))
			return
		}
		c.rect(box{x, at.y + 6, 12, 3}, looks[i].hue(), 1)
		c.text(x+16, at.y+11, style{size: 11, color: bright, anchor: "start"}, name)
		x += width(name, 11) + 30
	}
}
