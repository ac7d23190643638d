package handler_test

import (
	"errors"
	"html"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/upcommerce/backout/handler"
	"github.com/upcommerce/backout/rollback/report"
)

// TestRecordPageExplainsTheRecord shows the same as `backout explain`.
func TestRecordPageExplainsTheRecord(t *testing.T) {
	r := rolledBack("web", 2, time.Hour)
	s, _ := newPageServer(t, r)
	w := get(s.OpsHandler(), "/records/shop/web/2")
	e := report.Explain(r)
	body := html.UnescapeString(w.Body.String())
	for _, want := range append(factsOf(e), e.Headline, e.Advice.Text, "0 other releases have alerts", "canary without traffic") {
		if !strings.Contains(body, want) {
			t.Errorf("the record's page contains %q", want)
		}
	}
	for _, path := range []string{"/records/shop/web/3", "/records/shop/web/02", "/records/shop/web/x", "/records/other/web/2"} {
		if w := get(s.OpsHandler(), path); w.Code != http.StatusNotFound {
			t.Errorf("%s is answered 404: got %d", path, w.Code)
		}
	}
}

// factsOf returns the titles and the texts of an explanation.
func factsOf(e report.Explanation) []string {
	var all []string
	for _, s := range e.Sections {
		all = append(all, s.Title)
		for _, f := range s.Facts {
			all = append(all, f.Name, f.Text)
		}
	}
	return all
}

// TestLinksLeadOnlyToWebPages: the link of an alert can be any text.
func TestLinksLeadOnlyToWebPages(t *testing.T) {
	for link, want := range map[string]string{
		"http://prometheus.example/graph?a=1&b=2": `<a href="http://prometheus.example/graph?a=1&amp;b=2" rel="noreferrer noopener">open</a>`,
		"javascript:alert(1)":                     "",
	} {
		r := rolledBack("web", 2, time.Hour)
		r.Signals[0].Link = link
		s, _ := newPageServer(t, r)
		body := get(s.OpsHandler(), "/records/shop/web/2").Body.String()
		if !strings.Contains(body, want) || want == "" && strings.Contains(body, ">open</a>") {
			t.Errorf("the link %s becomes %q", link, want)
		}
	}
}

func TestRecordPageHidesWhyARecordCannotBeRead(t *testing.T) {
	s, _ := newServer(t, func(o *handler.Options) { o.Reader = records{err: errors.New("forbidden: secret detail")} })
	if w := get(s.OpsHandler(), "/records/shop/web/3"); w.Code != http.StatusServiceUnavailable || strings.Contains(w.Body.String(), "secret detail") {
		t.Errorf("the cause is only in the log: got %d %s", w.Code, w.Body)
	}
}
