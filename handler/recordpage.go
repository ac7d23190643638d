package handler

import (
	"fmt"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/report"
)

// recordPage is the page of one record.
type recordPage struct {
	Now    time.Time
	Record rollback.Record
	report.Explanation
	Timeline recordTimeline
	// JSONPath is the path of the record as JSON, Command explains it in a terminal.
	JSONPath string
	Command  rollback.Command
}

// Tone is that of the page's headline.
func (p recordPage) Tone() tone {
	if report.NeedsHelp(&p.Record) {
		return toneHelp
	}
	return stateTone(p.State)
}

// serveRecord explains one record, which it reads from the API server by its name.
func (p *pages) serveRecord(c *gin.Context) {
	k := key(c)
	number, valid := revision(c)
	if !valid {
		p.noRecord(c)
		return
	}
	r, found, err := p.reader.Record(c.Request.Context(), k, number)
	switch {
	case err != nil:
		p.log.ErrorContext(c, "record not readable", "namespace", k.Namespace, "release", k.Release, "revision", number, "error", err)
		p.problem(c, http.StatusServiceUnavailable, problem{"the record could not be read", "backout's log has the cause"})
	case !found:
		p.noRecord(c)
	case wantsJSON(c):
		c.IndentedJSON(http.StatusOK, r)
	default:
		now := time.Now()
		p.show(c, http.StatusOK, "record.html", recordPage{
			Now: now, Record: r, Explanation: report.Explain(r), Timeline: newRecordTimeline(r, now),
			JSONPath: fmt.Sprintf("/api/v1/records/%s/%s/%d", k.Namespace, k.Release, number), Command: r.ExplainCommand(),
		})
	}
}

func (p *pages) noRecord(c *gin.Context) {
	p.problem(c, http.StatusNotFound, problem{"there is no such record", "the status page lists all records"})
}
