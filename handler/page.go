package handler

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"log/slog"
	"net/http"
	"path"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/report"
)

// files are the page's templates, style sheet, script and icon: pages load nothing from
// other hosts.
//
//go:embed page
var files embed.FS

// securityPolicy is the Content-Security-Policy of every page: the text of an alert can
// become neither a script nor a style nor a request to another host.
const securityPolicy = "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'"

// Board is what the status page shows. *report.Board is one.
type Board interface {
	// View returns the records, the opted-in releases and the refused alerts.
	View() report.View
	// Changed returns a channel that is closed at the next change.
	Changed() <-chan struct{}
}

// pages are the HTML of the ops listener. They are read-only.
type pages struct {
	board     Board
	reader    Reader
	mode      rollback.Mode
	problems  func() []string
	templates *template.Template
	stream    *stream
	log       *slog.Logger
}

func newPages(o Options) (*pages, error) {
	t, err := template.New("").Funcs(template.FuncMap{
		"age": age, "label": stateLabel, "glyph": stateGlyph, "tone": stateTone,
		"stamp": func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05") },
		"now":   time.Now,
		"iso":   func(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) },
	}).ParseFS(files, "page/*.html")
	if err != nil {
		return nil, fmt.Errorf("parse the templates of the pages: %w", err)
	}
	return &pages{board: o.Board, reader: o.Reader, mode: o.Mode, problems: o.Problems, templates: t, stream: newStream(o.Board), log: o.Log}, nil
}

func (p *pages) register(r *gin.Engine) {
	r.GET("/", p.serveOverview)
	r.GET("/records/:namespace/:release/:revision", p.serveRecord)
	r.GET("/live", p.stream.serve)
	r.GET("/page/:file", p.serveFile)
	r.NoRoute(p.serveNotFound)
}

func (p *pages) serveNotFound(c *gin.Context) {
	p.problem(c, http.StatusNotFound, problem{"there is nothing here", "the status page is at /"})
}

// wantsJSON reports whether the client asked for JSON rather than a page.
func wantsJSON(c *gin.Context) bool {
	return c.NegotiateFormat(gin.MIMEHTML, gin.MIMEJSON) == gin.MIMEJSON
}

// serveOverview shows the board. It sends no request to the API server.
func (p *pages) serveOverview(c *gin.Context) {
	v, f := p.board.View(), newFilter(c.Request.URL.Query())
	if wantsJSON(c) {
		v.Rows = f.rows(v.Rows)
		c.IndentedJSON(http.StatusOK, v)
		return
	}
	page := newOverviewPage(v, f, p.mode, time.Now())
	page.Problems = p.problems()
	p.show(c, http.StatusOK, "overview.html", page)
}

func (p *pages) problem(c *gin.Context, code int, what problem) {
	if wantsJSON(c) {
		c.JSON(code, what)
		return
	}
	p.show(c, code, "problem.html", what)
}

// show writes a whole page, or panics before it has written anything.
func (p *pages) show(c *gin.Context, code int, name string, data any) {
	var text bytes.Buffer
	if err := p.templates.ExecuteTemplate(&text, name, data); err != nil {
		panic(fmt.Errorf("page %s: %w", name, err)) // answered 500 and logged
	}
	setSecurityHeaders(c.Writer.Header())
	c.Header("Cache-Control", "no-store")
	c.Header("Vary", "Accept")
	c.Data(code, "text/html; charset=utf-8", text.Bytes())
}

func setSecurityHeaders(h http.Header) {
	h.Set("Content-Security-Policy", securityPolicy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
}

// serveFile serves the style sheet, the script and the icon.
func (p *pages) serveFile(c *gin.Context) {
	name := c.Param("file")
	text, err := files.ReadFile("page/" + name)
	if err != nil || path.Ext(name) == ".html" {
		p.serveNotFound(c)
		return
	}
	sum := sha256.Sum256(text)
	setSecurityHeaders(c.Writer.Header())
	c.Header("Cache-Control", "no-cache")
	c.Header("ETag", `"`+hex.EncodeToString(sum[:8])+`"`)
	http.ServeContent(c.Writer, c.Request, name, time.Time{}, bytes.NewReader(text))
}
