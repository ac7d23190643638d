package grafana

import (
	"fmt"
	"html"
	"math"
	"strings"
)

// Sizes in pixels: a cell of the grid, the space between panels, the head of a panel.
const (
	cellWidth  = 62
	cellHeight = 38
	gap        = 8
	headHeight = 26
	textHeight = 12
)

// Grafana's dark theme.
const (
	backdrop = "#111217"
	surface  = "#181b1f"
	edge     = "#2c3235"
	grid     = "#2a2d33"
	bright   = "#ccccdc"
	dim      = "#8e8e9c"
)

// box is a rectangle.
type box struct{ x, y, w, h float64 }

// inset returns the box without a margin on each side.
func (b box) inset(left, top, right, bottom float64) box {
	return box{b.x + left, b.y + top, b.w - left - right, b.h - top - bottom}
}

// seamless returns the box with whole pixels as its left and right ends, so that adjacent
// boxes neither overlap nor leave a gap.
func seamless(b box) box {
	left := math.Floor(b.x)
	return box{left, b.y, math.Floor(b.x+b.w) - left, b.h}
}

// canvas builds an SVG.
type canvas struct{ b strings.Builder }

func (c *canvas) put(format string, args ...any) { fmt.Fprintf(&c.b, format+"\n", args...) }

func (c *canvas) rect(b box, fill string, opacity float64) {
	c.put(`<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" fill="%s" fill-opacity="%.2f" shape-rendering="crispEdges"/>`, b.x, b.y, max(b.w, 0), max(b.h, 0), fill, opacity)
}

// line draws a line; stroke is its colour, optionally followed by SVG attributes.
func (c *canvas) line(x1, y1, x2, y2 float64, stroke string) {
	color, more, _ := strings.Cut(stroke, " ")
	c.put(`<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="%s" %s/>`, x1, y1, x2, y2, color, more)
}

// style is the style of a text. anchor is SVG's text-anchor: start, middle or end.
type style struct {
	size   float64
	color  string
	anchor string
	bold   bool
}

func (c *canvas) text(x, y float64, s style, text string) {
	weight := "400"
	if s.bold {
		weight = "600"
	}
	c.put(`<text x="%.1f" y="%.1f" font-size="%.1f" fill="%s" text-anchor="%s" font-weight="%s">%s</text>`,
		x, y, s.size, s.color, s.anchor, weight, html.EscapeString(text))
}

// width estimates the width of a text.
func width(text string, size float64) float64 { return float64(len([]rune(text))) * size * 0.55 }

// fitting returns a font size, at most size, in which the text is not wider than wide.
func fitting(text string, size, wide float64) float64 {
	return min(size, size*wide/max(width(text, size), 1))
}

// shortened cuts a text to a width.
func shortened(text string, size, wide float64) string {
	runes := []rune(text)
	if n := int(wide / (size * 0.55)); n < len(runes) && n > 1 {
		return string(runes[:n-1]) + "…"
	}
	return text
}
