package grafana

import (
	"fmt"
	"time"
)

// Draw returns the dashboard as an SVG, with the caption under it.
func (b *Board) Draw(caption string) []byte {
	var c canvas
	bottom := 0
	for _, p := range b.Panels {
		bottom = max(bottom, p.GridPos.Y+p.GridPos.H)
	}
	const top, foot = 46, 30
	w, h := 24*cellWidth+gap, bottom*cellHeight+top+foot
	c.put(`<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" font-family="Inter, 'DejaVu Sans', Verdana, sans-serif">`, w, h, w, h)
	c.rect(box{0, 0, float64(w), float64(h)}, backdrop, 1)
	b.head(&c, float64(w))
	for _, p := range b.Panels {
		b.panel(&c, p, box{
			float64(p.GridPos.X*cellWidth + gap), float64(p.GridPos.Y*cellHeight + top),
			float64(p.GridPos.W*cellWidth - gap), float64(p.GridPos.H*cellHeight - gap),
		})
	}
	c.text(gap+2, float64(h)-10, style{size: textHeight, color: dim, anchor: "start"}, caption)
	c.put("</svg>")
	return []byte(c.b.String())
}

// head draws the title, the variables and the time range.
func (b *Board) head(c *canvas, wide float64) {
	c.text(gap+4, 29, style{size: 18, color: bright, anchor: "start", bold: true}, b.Dashboard.Title)
	x := gap + 40 + width(b.Dashboard.Title, 19)
	for _, v := range b.Dashboard.Templating.List {
		if v.Type != "query" || v.Hide != 0 {
			continue
		}
		value := b.Chosen[v.Name]
		if v.IncludeAll {
			value = "All"
		}
		text := v.Label + "  " + value
		c.put(`<rect x="%.1f" y="12" width="%.1f" height="24" rx="3" fill="%s" stroke="%s"/>`, x, width(text, 13)+20, surface, edge)
		c.text(x+10, 28, style{size: 12.5, color: bright, anchor: "start"}, text)
		x += width(text, 13) + 32
	}
	span := b.Start.UTC().Format("2006-01-02 15:04:05") + " to " + b.End.UTC().Format("15:04:05") + " UTC"
	c.text(wide-gap-4, 28, style{size: 12.5, color: dim, anchor: "end"}, span)
}

// panel draws a panel with its frame and title.
func (b *Board) panel(c *canvas, p Panel, at box) {
	c.put(`<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" rx="3" fill="%s" stroke="%s"/>`, at.x, at.y, at.w, at.h, surface, edge)
	size := fitting(p.Title, 13, at.w-16)
	c.text(at.x+8, at.y+18, style{size: size, color: bright, anchor: "start", bold: true}, p.Title)
	inner := at.inset(8, headHeight, 8, 6)
	if len(p.Series) == 0 {
		text := p.FieldConfig.Defaults.NoValue
		if text == "" {
			text = "No data"
		}
		c.text(inner.x+inner.w/2, inner.y+inner.h/2, style{size: 16, color: dim, anchor: "middle"}, text)
		return
	}
	switch p.Type {
	case "stat":
		b.stat(c, p, inner)
	case "timeseries":
		b.timeSeries(c, p, inner)
	case "state-timeline":
		b.timeline(c, p, inner)
	case "heatmap":
		b.heatmap(c, p, inner)
	case "table":
		b.table(c, p, inner)
	}
}

// stat draws the newest values of all series next to each other.
func (b *Board) stat(c *canvas, p Panel, at box) {
	wide := (at.w - float64(len(p.Series)-1)*6) / float64(len(p.Series))
	for i, s := range p.Series {
		cell := box{at.x + float64(i)*(wide+6), at.y, wide, at.h}
		l := p.look(s.Name, i)
		text, color := l.of(s.Last().Value)
		if p.FieldConfig.Defaults.Unit == "dateTimeFromNow" {
			text = ago(b.End.Sub(time.UnixMilli(int64(s.Last().Value))))
		}
		if p.Options.TextMode == "name" {
			text = s.Name
		}
		ink := color
		if p.Options.ColorMode == "background" {
			c.put(`<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" rx="3" fill="%s" fill-opacity="0.85"/>`, cell.x, cell.y, cell.w, cell.h, color)
			ink = "#111217"
		}
		middle := cell.x + cell.w/2
		size := fitting(text, 38, (cell.w-14)*0.8) // bold
		y := cell.y + cell.h/2 + size*0.36
		if p.Options.TextMode == "value_and_name" {
			c.text(middle, cell.y+cell.h*0.27, style{size: 13, color: ink, anchor: "middle"}, s.Name)
			y += cell.h * 0.1
		}
		c.text(middle, y, style{size: size, color: ink, anchor: "middle", bold: true}, text)
	}
}

// ago formats a time in the past as Grafana does.
func ago(d time.Duration) string {
	switch {
	case d < 45*time.Second:
		return "a few seconds ago"
	case d < 90*time.Second:
		return "a minute ago"
	default:
		return fmt.Sprintf("%d minutes ago", int(d.Round(time.Minute).Minutes()))
	}
}
