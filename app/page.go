package main

import (
	"bytes"
	_ "embed"
	"html/template"
)

//go:embed page.html
var pageTemplate string

// renderPage renders the page once; it is the same for every shopper. Version and message are escaped. The colour is part of a
// style sheet: html/template replaces values that could escape from it, and Config.Validate has already refused them.
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
