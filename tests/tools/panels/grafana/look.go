package grafana

import (
	"encoding/json"
	"regexp"
	"strconv"

	"github.com/upcommerce/backout/dashboards"
)

// look is how one series is drawn: the panel's defaults and their overrides.
type look struct {
	dashboards.Field
	dashed, right, stepped bool
	width, fill            int
	coloredText            bool
}

// look returns the look of the nth series of a panel, which has that name.
func (p Panel) look(name string, nth int) look {
	l := look{Field: p.FieldConfig.Defaults, width: 1}
	if c := l.Custom; c != nil {
		l.stepped = c.LineInterpolation == "stepAfter"
		if c.LineWidth != nil {
			l.width = *c.LineWidth
		}
		if c.FillOpacity != nil {
			l.fill = *c.FillOpacity
		}
	}
	if l.Color == nil || l.Color.Mode == "palette-classic" {
		l.Color = &dashboards.Color{Mode: "fixed", FixedColor: palette()[nth%len(palette())]}
	}
	for _, o := range p.FieldConfig.Overrides {
		matches := o.Matcher.Options == name
		if o.Matcher.ID == "byRegexp" {
			pattern, err := regexp.Compile(o.Matcher.Options)
			matches = err == nil && pattern.MatchString(name)
		}
		for _, property := range o.Properties {
			if matches {
				l.override(property)
			}
		}
	}
	return l
}

// override sets one property. Properties that this package does not draw are left out.
func (l *look) override(p dashboards.Property) {
	var text string
	_ = json.Unmarshal(p.Value, &text) // stays empty if the value is not a string
	switch p.ID {
	case "color":
		l.Color = decoded[dashboards.Color](p.Value)
	case "unit":
		l.Unit = text
	case "max":
		l.Max = decoded[float64](p.Value)
	case "thresholds":
		l.Thresholds = decoded[dashboards.Thresholds](p.Value)
	case "mappings":
		l.Mappings = *decoded[[]dashboards.Mapping](p.Value)
	case "custom.lineStyle":
		l.dashed = true
	case "custom.lineWidth":
		l.width = *decoded[int](p.Value)
	case "custom.fillOpacity":
		l.fill = *decoded[int](p.Value)
	case "custom.lineInterpolation":
		l.stepped = text == "stepAfter"
	case "custom.axisPlacement":
		l.right = text == "right"
	case "custom.cellOptions":
		l.coloredText = true
	}
}

// decoded returns the value, zero if it has another type.
func decoded[T any](text json.RawMessage) *T {
	v := new(T)
	if json.Unmarshal(text, v) != nil {
		return new(T)
	}
	return v
}

// of returns text and colour of a value: from a mapping, or from the unit and the
// threshold below the value.
func (l look) of(value float64) (text, color string) {
	if text, color, ok := l.mapped(strconv.FormatFloat(value, 'g', -1, 64)); ok {
		return text, color
	}
	return format(value, l.Unit, l.Decimals), l.threshold(value)
}

func (l look) mapped(value string) (text, color string, ok bool) {
	for _, m := range l.Mappings {
		if to, ok := m.Options[value]; ok {
			return to.Text, hue(to.Color), true
		}
	}
	return "", "", false
}

func (l look) threshold(value float64) string {
	if l.Color != nil && l.Color.Mode == "fixed" || l.Thresholds == nil {
		return l.hue()
	}
	color := "text"
	for _, s := range l.Thresholds.Steps {
		if s.Value == nil || value >= *s.Value {
			color = s.Color
		}
	}
	return hue(color)
}

func (l look) hue() string {
	if l.Color == nil || l.Color.FixedColor == "" {
		return hue("text")
	}
	return hue(l.Color.FixedColor)
}

// palette is the beginning of Grafana's classic palette.
func palette() []string {
	return []string{"#73BF69", "#F2CC0C", "#5794F2", "#FF9830", "#F2495C", "#B877D9", "#8AB8FF", "#C8F2C2", "#FFA6B0", "#CA95E5"}
}

// hue returns a named colour of Grafana's dark theme.
func hue(name string) string {
	named := map[string]string{
		"green": "#73BF69", "yellow": "#FADE2A", "blue": "#5794F2", "orange": "#FF9830", "red": "#F2495C", "purple": "#B877D9",
		"text": "#ccccdc",
	}
	if hex, ok := named[name]; ok {
		return hex
	}
	return name
}
