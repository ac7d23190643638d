// Package dashboards holds the Grafana dashboards that backout ships, and decodes
// the part of Grafana's classic schema that they use.
package dashboards

import (
	"bytes"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
)

//go:embed *.json
var files embed.FS

// All returns the dashboards by the names of their files, without extension. It
// returns an error if one has a field that this package does not know.
func All() (map[string]Dashboard, error) {
	names, err := fs.Glob(files, "*.json")
	if err != nil {
		return nil, err
	}
	all := make(map[string]Dashboard, len(names))
	for _, name := range names {
		text, err := files.ReadFile(name)
		if err != nil {
			return nil, err
		}
		var d Dashboard
		from := json.NewDecoder(bytes.NewReader(text))
		from.DisallowUnknownFields()
		if err := from.Decode(&d); err != nil {
			return nil, fmt.Errorf("read the dashboard %s: %w", name, err)
		}
		if _, err := from.Token(); !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("read the dashboard %s: trailing data", name)
		}
		all[name[:len(name)-len(path.Ext(name))]] = d
	}
	return all, nil
}

// Dashboard is one dashboard.
type Dashboard struct {
	UID           string   `json:"uid"`
	Title         string   `json:"title"`
	Description   string   `json:"description"`
	Tags          []string `json:"tags"`
	SchemaVersion int      `json:"schemaVersion"`
	Version       int      `json:"version"`
	Editable      bool     `json:"editable"`
	GraphTooltip  int      `json:"graphTooltip"`
	Refresh       string   `json:"refresh"`
	Time          struct {
		From string `json:"from"`
		To   string `json:"to"`
	} `json:"time"`
	TimePicker struct{} `json:"timepicker"`
	TimeZone   string   `json:"timezone"`
	WeekStart  string   `json:"weekStart"`
	FiscalYear int      `json:"fiscalYearStartMonth"`
	LiveNow    bool     `json:"liveNow"`
	Preload    bool     `json:"preload"`

	Links       []Link `json:"links"`
	Annotations struct {
		List []Annotation `json:"list"`
	} `json:"annotations"`
	Templating struct {
		List []Variable `json:"list"`
	} `json:"templating"`
	Panels []Panel `json:"panels"`
}

// DataSource is the data source of a query.
type DataSource struct {
	Type string `json:"type"`
	UID  string `json:"uid"`
}

// Link is a link to another dashboard.
type Link struct {
	Title       string   `json:"title"`
	Type        string   `json:"type"`
	URL         string   `json:"url"`
	Icon        string   `json:"icon"`
	Tooltip     string   `json:"tooltip"`
	Tags        []string `json:"tags"`
	AsDropdown  bool     `json:"asDropdown"`
	IncludeVars bool     `json:"includeVars"`
	KeepTime    bool     `json:"keepTime"`
	TargetBlank bool     `json:"targetBlank"`
}

// Annotation is a query for times that Grafana marks in every panel.
type Annotation struct {
	Name            string     `json:"name"`
	DataSource      DataSource `json:"datasource"`
	Enable          bool       `json:"enable"`
	Hide            bool       `json:"hide"`
	IconColor       string     `json:"iconColor"`
	Expr            string     `json:"expr"`
	Step            string     `json:"step"`
	TagKeys         string     `json:"tagKeys"`
	TitleFormat     string     `json:"titleFormat"`
	TextFormat      string     `json:"textFormat"`
	UseValueForTime bool       `json:"useValueForTime"`
}

// Variable is one that users choose at the top, or that depends on such a one.
type Variable struct {
	Name       string      `json:"name"`
	Label      string      `json:"label"`
	Type       string      `json:"type"`
	DataSource *DataSource `json:"datasource,omitempty"`
	Definition string      `json:"definition,omitempty"`
	// Query is a string for the type datasource, and an object for the type query.
	Query      json.RawMessage `json:"query"`
	Refresh    int             `json:"refresh"`
	Sort       int             `json:"sort"`
	Regex      string          `json:"regex"`
	Hide       int             `json:"hide"`
	Multi      bool            `json:"multi"`
	IncludeAll bool            `json:"includeAll"`
	AllValue   string          `json:"allValue,omitempty"`
	Current    struct{}        `json:"current"`
	Options    []struct{}      `json:"options"`
}
