package handler

import (
	"context"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/upcommerce/backout/rollback"
)

// Reader shows records. *ledger.Ledger is one.
type Reader interface {
	// All returns every record, newest first.
	All(ctx context.Context) ([]rollback.Record, error)
	// Records returns those of one release.
	Records(ctx context.Context, k rollback.Key) ([]rollback.Record, error)
	// Record returns one; the second result is false if there is none.
	Record(ctx context.Context, k rollback.Key, revision int) (rollback.Record, bool, error)
}

// readyTimeout limits what /readyz asks of the API server.
const readyTimeout = 2 * time.Second

// ops is the read-only listener.
type ops struct {
	reader   Reader
	board    *rollback.Board
	gatherer prometheus.Gatherer
	// ready returns nil if backout can do its work now.
	ready func(context.Context) error
	log   *slog.Logger
}

func (o *ops) register(r *gin.Engine) {
	r.GET("/metrics", gin.WrapH(promhttp.HandlerFor(o.gatherer, promhttp.HandlerOpts{})))
	r.GET("/healthz", func(c *gin.Context) { c.String(http.StatusOK, "ok\n") })
	r.GET("/readyz", o.serveReady)
	r.GET("/api/v1/releases", o.serveReleases)
	r.GET("/api/v1/records", o.serveRecords)
	r.GET("/api/v1/records/:namespace/:release", o.serveRelease)
	r.GET("/api/v1/records/:namespace/:release/:revision", o.serveRecord)
}

func (o *ops) serveReady(c *gin.Context) {
	ctx, cancel := context.WithTimeout(c.Request.Context(), readyTimeout)
	defer cancel()
	if err := o.ready(ctx); err != nil {
		c.String(http.StatusServiceUnavailable, "not ready: %s\n", err)
		return
	}
	c.String(http.StatusOK, "ok\n")
}

func (o *ops) serveRecords(c *gin.Context) {
	records, err := o.reader.All(c.Request.Context())
	f := newFilter(c.Request.URL.Query())
	wanted := make([]rollback.Record, 0, len(records))
	for _, r := range records {
		if f.wants(r.Namespace, r.State(), r.Decision().Verdict) {
			wanted = append(wanted, r)
		}
	}
	o.answer(c, wanted, err)
}

// serveReleases shows the releases under guard and what was refused, as the status
// page does. Nobody is asked.
func (o *ops) serveReleases(c *gin.Context) {
	v := o.board.View()
	if namespace := c.Query("namespace"); namespace != "" {
		v.Guarded = slices.DeleteFunc(v.Guarded, func(g rollback.Guarded) bool { return g.Namespace != namespace })
	}
	c.IndentedJSON(http.StatusOK, gin.H{"releases": v.Guarded, "refusals": v.Refusals})
}

func (o *ops) serveRelease(c *gin.Context) {
	records, err := o.reader.Records(c.Request.Context(), key(c))
	o.answer(c, records, err)
}

func (o *ops) serveRecord(c *gin.Context) {
	revision, err := strconv.Atoi(c.Param("revision"))
	found := err == nil && strconv.Itoa(revision) == c.Param("revision")
	var r rollback.Record
	if found {
		r, found, err = o.reader.Record(c.Request.Context(), key(c), revision)
		if err != nil {
			o.answer(c, nil, err)
			return
		}
	}
	if found {
		c.IndentedJSON(http.StatusOK, r)
		return
	}
	c.JSON(http.StatusNotFound, problem{Error: "there is no such record", Hint: "GET /api/v1/records lists them"})
}

func key(c *gin.Context) rollback.Key {
	return rollback.Key{Namespace: c.Param("namespace"), Release: c.Param("release")}
}

// answer shows what could be read; what could not is named beside it.
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
