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
	"slices"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/upcommerce/backout/rollback"
)

// files are the page's templates, style, script and icon: nothing comes from
// anywhere else.
//
//go:embed page
var files embed.FS

// policy is the Content-Security-Policy of every page: what an alert says can
// never become a script, a style or a request to elsewhere.
const policy = "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'"

// pages are the HTML of the ops listener. They only read.
type pages struct {
	board     *rollback.Board
	reader    Reader
	mode      rollback.Mode
	templates *template.Template
	stream    *stream
	log       *slog.Logger
}

func newPages(o Options) (*pages, error) {
	t, err := template.New("").Funcs(template.FuncMap{
		"age": age, "since": since, "word": word, "glyph": glyph, "moment": moment, "plural": plural,
		"stamp": func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05") },
		"now":   time.Now,
		"iso":   func(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) },
	}).ParseFS(files, "page/*.html")
	if err != nil {
		return nil, fmt.Errorf("read the pages: %w", err)
	}
	return &pages{board: o.Board, reader: o.Reader, mode: o.Mode, templates: t, stream: newStream(o.Board), log: o.Log}, nil
}

func (p *pages) register(r *gin.Engine) {
	r.GET("/", p.serveOverview)
	r.GET("/records/:namespace/:release/:revision", p.serveRecord)
	r.GET("/live", p.stream.serve)
	r.GET("/page/:file", p.serveFile)
	r.NoRoute(func(c *gin.Context) {
		p.problem(c, http.StatusNotFound, problem{"there is nothing here", "the status page is at /"})
	})
}

// wantsJSON reports whether the reader asked for JSON rather than a page.
func wantsJSON(c *gin.Context) bool {
	return c.NegotiateFormat(gin.MIMEHTML, gin.MIMEJSON) == gin.MIMEJSON
}

// serveOverview shows what the board knows; nobody else is asked.
func (p *pages) serveOverview(c *gin.Context) {
	v, f := p.board.View(), newFilter(c.Request.URL.Query())
	if wantsJSON(c) {
		v.Rows = slices.DeleteFunc(v.Rows, func(r rollback.Row) bool { return !f.wants(r.Namespace, r.State, r.Verdict) })
		c.IndentedJSON(http.StatusOK, v)
		return
	}
	p.show(c, http.StatusOK, "overview.html", newOverview(v, f, p.mode, time.Now()))
}

// recordPage is the page of one record.
type recordPage struct {
	Now    time.Time
	Record rollback.Record
	rollback.Explanation
	Chart chart
	// Path is that of the same as JSON.
	Path string
}

// Level is the headline's: calm, busy or call.
func (p recordPage) Level() string {
	switch {
	case p.Record.Calls():
		return "call"
	case p.Record.Closed.IsZero():
		return "busy"
	default:
		return "calm"
	}
}

// serveRecord explains one record, which is read by its name.
func (p *pages) serveRecord(c *gin.Context) {
	k := key(c)
	revision, err := strconv.Atoi(c.Param("revision"))
	if err != nil || strconv.Itoa(revision) != c.Param("revision") {
		p.problem(c, http.StatusNotFound, problem{"there is no such record", "the status page lists them"})
		return
	}
	r, ok, err := p.reader.Record(c.Request.Context(), k, revision)
	switch {
	case err != nil:
		p.log.ErrorContext(c, "record not readable", "namespace", k.Namespace, "release", k.Release, "revision", revision, "error", err)
		p.problem(c, http.StatusServiceUnavailable, problem{"the record could not be read", "backout's log has the cause"})
	case !ok:
		p.problem(c, http.StatusNotFound, problem{"there is no such record", "the status page lists them"})
	case wantsJSON(c):
		c.IndentedJSON(http.StatusOK, r)
	default:
		now := time.Now()
		p.show(c, http.StatusOK, "record.html", recordPage{
			Now: now, Record: r, Explanation: rollback.Explain(r), Chart: newChart(r, now),
			Path: "/api/v1" + path.Join("/records", k.Namespace, k.Release, c.Param("revision")),
		})
	}
}

func (p *pages) problem(c *gin.Context, code int, what problem) {
	if wantsJSON(c) {
		c.JSON(code, what)
		return
	}
	p.show(c, code, "problem.html", what)
}

// show writes a page, or nothing of it.
func (p *pages) show(c *gin.Context, code int, name string, data any) {
	var text bytes.Buffer
	if err := p.templates.ExecuteTemplate(&text, name, data); err != nil {
		panic(fmt.Errorf("page %s: %w", name, err)) // answered 500 and logged
	}
	protect(c.Writer.Header())
	c.Header("Cache-Control", "no-store")
	c.Header("Vary", "Accept")
	c.Data(code, "text/html; charset=utf-8", text.Bytes())
}

func protect(h http.Header) {
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
}

// serveFile serves the style, the script and the icon.
func (p *pages) serveFile(c *gin.Context) {
	name := c.Param("file")
	text, err := files.ReadFile("page/" + name)
	if err != nil || path.Ext(name) == ".html" {
		p.problem(c, http.StatusNotFound, problem{"there is nothing here", "the status page is at /"})
		return
	}
	sum := sha256.Sum256(text)
	protect(c.Writer.Header())
	c.Header("Cache-Control", "no-cache")
	c.Header("ETag", `"`+hex.EncodeToString(sum[:8])+`"`)
	http.ServeContent(c.Writer, c.Request, name, time.Time{}, bytes.NewReader(text))
}

// word is a state as people read it; one that is not known is shown as it is.
func word(s rollback.State) string {
	switch s {
	case rollback.StateActing:
		return "acting now"
	case rollback.StateWatching:
		return "watching"
	case rollback.StateWaiting:
		return "waiting"
	case rollback.StateHeld:
		return "held at zero"
	case rollback.StateRestored:
		return "restored, unproven"
	case rollback.StateNotRecovered:
		return "not recovered"
	case rollback.StateUntouched:
		return "nothing done"
	case rollback.StateRecovered, rollback.StateFailed, rollback.StateUnjudged, rollback.StateReleased:
		return string(s)
	default:
		return string(s)
	}
}

// glyph tells states apart without colour.
func glyph(s rollback.State) string {
	switch s {
	case rollback.StateActing:
		return "▶"
	case rollback.StateWatching:
		return "◔"
	case rollback.StateWaiting:
		return "…"
	case rollback.StateHeld:
		return "‖"
	case rollback.StateRecovered:
		return "✓"
	case rollback.StateRestored, rollback.StateUnjudged:
		return "?"
	case rollback.StateFailed, rollback.StateNotRecovered:
		return "!"
	case rollback.StateReleased, rollback.StateUntouched:
		return "–"
	default:
		return "·"
	}
}
