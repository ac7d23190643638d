package main

import (
	"bytes"
	_ "embed"
	"html/template"
)

//go:embed page.html
var pageTemplate string

// renderPage renders the page once; it is the same for every shopper. Version and message are escaped. The colour stands in a
// style sheet: html/template replaces what could leave it, and Config.Validate has refused that before.
func renderPage(c Config) ([]byte, error) {
	t, err := template.New("page").Parse(pageTemplate)
	if err != nil {
		return nil, err
	}
	var page bytes.Buffer
	if err := t.Execute(&page, c); err != nil {
		return nil, err
	}
	return page.Bytes(), nil
}
