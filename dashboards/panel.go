package dashboards

import "encoding/json"

// Panel is one panel of a dashboard.
type Panel struct {
	ID              int              `json:"id"`
	Type            string           `json:"type"`
	Title           string           `json:"title"`
	Description     string           `json:"description"`
	GridPos         GridPos          `json:"gridPos"`
	DataSource      DataSource       `json:"datasource"`
	Targets         []Target         `json:"targets"`
	FieldConfig     FieldConfig      `json:"fieldConfig"`
	Options         Options          `json:"options"`
	Transformations []Transformation `json:"transformations,omitempty"`
}

// GridPos is the position of a panel in a grid of 24 columns and rows of 30 pixels.
type GridPos struct {
	X int `json:"x"`
	Y int `json:"y"`
	W int `json:"w"`
	H int `json:"h"`
}

// Target is one query of a panel.
type Target struct {
	RefID        string     `json:"refId"`
	DataSource   DataSource `json:"datasource"`
	Expr         string     `json:"expr"`
	LegendFormat string     `json:"legendFormat"`
	Format       string     `json:"format,omitempty"`
	Instant      bool       `json:"instant,omitempty"`
}

// FieldConfig is the format of values; Overrides apply to some of the series.
type FieldConfig struct {
	Defaults  Field      `json:"defaults"`
	Overrides []Override `json:"overrides"`
}

// Field is the format of a value.
type Field struct {
	Unit       string      `json:"unit"`
	Decimals   *int        `json:"decimals,omitempty"`
	Min        *float64    `json:"min,omitempty"`
	Max        *float64    `json:"max,omitempty"`
	NoValue    string      `json:"noValue,omitempty"`
	Color      *Color      `json:"color,omitempty"`
	Thresholds *Thresholds `json:"thresholds,omitempty"`
	Mappings   []Mapping   `json:"mappings,omitempty"`
	Custom     *Custom     `json:"custom,omitempty"`
}

// Color is the colour of a series.
type Color struct {
	Mode       string `json:"mode"`
	FixedColor string `json:"fixedColor,omitempty"`
}

// Thresholds are colours from a value on; the first step has no value.
type Thresholds struct {
	Mode  string `json:"mode"`
	Steps []struct {
		Color string   `json:"color"`
		Value *float64 `json:"value"`
	} `json:"steps"`
}

// Mapping maps values to a text and a colour.
type Mapping struct {
	Type    string `json:"type"`
	Options map[string]struct {
		Text  string `json:"text"`
		Color string `json:"color"`
		Index int    `json:"index"`
	} `json:"options"`
}

// Custom has the fields of panels with series; each kind uses some of them.
type Custom struct {
	DrawStyle         string          `json:"drawStyle,omitempty"`
	LineInterpolation string          `json:"lineInterpolation,omitempty"`
	LineWidth         *int            `json:"lineWidth,omitempty"`
	FillOpacity       *int            `json:"fillOpacity,omitempty"`
	ShowPoints        string          `json:"showPoints,omitempty"`
	SpanNulls         *bool           `json:"spanNulls,omitempty"`
	Align             string          `json:"align,omitempty"`
	CellOptions       json.RawMessage `json:"cellOptions,omitempty"`
	HideFrom          json.RawMessage `json:"hideFrom,omitempty"`
	Scale             json.RawMessage `json:"scaleDistribution,omitempty"`
	Stacking          *struct {
		Mode  string `json:"mode"`
		Group string `json:"group"`
	} `json:"stacking,omitempty"`
}

// Override changes properties of the series that the matcher selects.
type Override struct {
	Matcher struct {
		ID      string `json:"id"`
		Options string `json:"options"`
	} `json:"matcher"`
	Properties []Property `json:"properties"`
}

// Property is one field, by its path, as in custom.lineWidth.
type Property struct {
	ID    string          `json:"id"`
	Value json.RawMessage `json:"value"`
}

// Options are those of all kinds of panels; each kind uses some of them.
type Options struct {
	Legend      json.RawMessage `json:"legend,omitempty"`
	Tooltip     json.RawMessage `json:"tooltip,omitempty"`
	ColorMode   string          `json:"colorMode,omitempty"`
	GraphMode   string          `json:"graphMode,omitempty"`
	JustifyMode string          `json:"justifyMode,omitempty"`
	Orientation string          `json:"orientation,omitempty"`
	TextMode    string          `json:"textMode,omitempty"`
	Reduce      json.RawMessage `json:"reduceOptions,omitempty"`

	MergeValues bool    `json:"mergeValues,omitempty"`
	AlignValue  string  `json:"alignValue,omitempty"`
	RowHeight   float64 `json:"rowHeight,omitempty"`
	// ShowValue is for timelines and heatmaps.
	ShowValue string `json:"showValue,omitempty"`

	Calculate bool            `json:"calculate,omitempty"`
	CellGap   int             `json:"cellGap,omitempty"`
	Color     json.RawMessage `json:"color,omitempty"`
	Filter    json.RawMessage `json:"filterValues,omitempty"`
	Rows      json.RawMessage `json:"rowsFrame,omitempty"`
	YAxis     *struct {
		Unit      string `json:"unit"`
		Placement string `json:"axisPlacement"`
		Reverse   bool   `json:"reverse"`
	} `json:"yAxis,omitempty"`

	ShowHeader bool     `json:"showHeader,omitempty"`
	CellHeight string   `json:"cellHeight,omitempty"`
	SortBy     []SortBy `json:"sortBy,omitempty"`
}

// SortBy is the order of a table's rows, by the displayed name of a column.
type SortBy struct {
	DisplayName string `json:"displayName"`
	Desc        bool   `json:"desc"`
}

// Transformation changes the results of queries before Grafana shows them.
type Transformation struct {
	ID      string `json:"id"`
	Options struct {
		ExcludeByName map[string]bool   `json:"excludeByName,omitempty"`
		IndexByName   map[string]int    `json:"indexByName,omitempty"`
		RenameByName  map[string]string `json:"renameByName,omitempty"`
	} `json:"options"`
}
