package handler

import (
	"context"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/report"
)

// Reader reads records. *ledger.Ledger is one.
type Reader interface {
	// All returns every record, newest first.
	All(ctx context.Context) ([]rollback.Record, error)
	// Records returns those of one release, oldest revision first.
	Records(ctx context.Context, k rollback.Key, c rollback.Consistency) ([]rollback.Record, error)
	// Record returns one record; the second result is false if it does not exist.
	Record(ctx context.Context, k rollback.Key, revision int) (rollback.Record, bool, error)
}

// readyTimeout limits the check behind /readyz.
const readyTimeout = 2 * time.Second

// ops is the read-only listener.
type ops struct {
	reader   Reader
	board    Board
	gatherer prometheus.Gatherer
	// ready returns nil if backout can do its work now, or could a moment ago.
	ready *sharedCheck
	// problems are what backout cannot do although it is ready.
	problems func() []string
	// lists has room for the lists of all records that are written at a time: an answer may
	// take megabytes for as long as a slow reader takes.
	lists chan struct{}
	log   *slog.Logger
}

// maxLists bounds the lists of all records that are written at a time.
const maxLists = 8

func (o *ops) register(r *gin.Engine) {
	r.GET("/metrics", gin.WrapH(promhttp.HandlerFor(o.gatherer, promhttp.HandlerOpts{})))
	r.GET("/healthz", func(c *gin.Context) { c.String(http.StatusOK, "ok\n") })
	r.GET("/readyz", o.serveReady)
	r.GET("/api/v1/releases", o.serveReleases)
	r.GET("/api/v1/records", o.serveRecords)
	r.GET("/api/v1/records/:namespace/:release", o.serveReleaseRecords)
	r.GET("/api/v1/records/:namespace/:release/:revision", o.serveRecord)
}

// serveReady answers 200 with the problems of a backout that is ready: one that receives
// and sheds is better than none.
func (o *ops) serveReady(c *gin.Context) {
	if err := o.ready.run(c.Request.Context()); err != nil {
		c.String(http.StatusServiceUnavailable, "not ready: %s\n", err)
		return
	}
	var text strings.Builder
	text.WriteString("ok\n")
	for _, p := range o.problems() {
		text.WriteString("degraded: " + p + "\n")
	}
	c.String(http.StatusOK, "%s", text.String())
}

func (o *ops) serveRecords(c *gin.Context) {
	select {
	case o.lists <- struct{}{}:
		defer func() { <-o.lists }()
	default:
		c.Header("Retry-After", "1")
		c.JSON(http.StatusServiceUnavailable, problem{"too many lists of all records are read at once", "try again, or read those of one release"})
		return
	}
	records, err := o.reader.All(c.Request.Context())
	f := newFilter(c.Request.URL.Query())
	selected := make([]rollback.Record, 0, len(records))
	for _, r := range records {
		if f.matches(r.Namespace, report.StateOf(&r), r.Decision().Verdict) {
			selected = append(selected, r)
		}
	}
	o.answer(c, selected, err)
}

// serveReleases shows the opted-in releases and the refused alerts, as the status page
// does. It sends no request to the API server.
func (o *ops) serveReleases(c *gin.Context) {
	v, f := o.board.View(), filter{Namespace: c.Query("namespace")}
	c.IndentedJSON(http.StatusOK, gin.H{"releases": f.releases(v.Releases), "refusals": v.Refusals})
}

func (o *ops) serveReleaseRecords(c *gin.Context) {
	records, err := o.reader.Records(c.Request.Context(), key(c), rollback.Stored)
	o.answer(c, records, err)
}

func (o *ops) serveRecord(c *gin.Context) {
	number, found := revision(c)
	var r rollback.Record
	if found {
		var err error
		if r, found, err = o.reader.Record(c.Request.Context(), key(c), number); err != nil {
			o.answer(c, nil, err)
			return
		}
	}
	if found {
		c.IndentedJSON(http.StatusOK, r)
		return
	}
	c.JSON(http.StatusNotFound, problem{Error: "there is no such record", Hint: "GET /api/v1/records lists all records"})
}

// key returns the release that the path names.
func key(c *gin.Context) rollback.Key {
	return rollback.Key{Namespace: c.Param("namespace"), Release: c.Param("release")}
}

// revision returns the revision that the path names; false if it names none, or not in
// the usual form.
func revision(c *gin.Context) (int, bool) {
	number, err := strconv.Atoi(c.Param("revision"))
	return number, err == nil && strconv.Itoa(number) == c.Param("revision")
}

// answer shows the records that could be read. The error about the others is part of the
// answer.
func (o *ops) answer(c *gin.Context, records []rollback.Record, err error) {
	if err != nil {
		o.log.ErrorContext(c, "records not readable", "error", err)
	}
	if err != nil && len(records) > 0 {
		c.IndentedJSON(http.StatusOK, gin.H{"records": records, "unreadable": err.Error()})
		return
	}
	if err != nil {
		c.JSON(http.StatusServiceUnavailable, problem{Error: "the records could not be read", Hint: "backout's log has the cause"})
		return
	}
	if records == nil {
		records = []rollback.Record{}
	}
	c.IndentedJSON(http.StatusOK, gin.H{"records": records})
}
