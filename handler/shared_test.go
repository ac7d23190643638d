package handler_test

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/upcommerce/backout/handler"
	"github.com/upcommerce/backout/rollback"
)

// countingReader counts how often all records are listed.
type countingReader struct {
	records

	lists atomic.Int32
}

func (c *countingReader) All(ctx context.Context) ([]rollback.Record, error) {
	c.lists.Add(1)
	return c.records.All(ctx)
}

func TestConcurrentRequestsShareOneList(t *testing.T) {
	reader := &countingReader{records: records{all: []rollback.Record{rolledBack("web", 2, time.Hour)}}}
	s, _ := newServer(t, func(o *handler.Options) { o.Reader = reader })
	var reading sync.WaitGroup
	for range 8 { // as many as the listener reads at once
		reading.Go(func() {
			if w := get(s.OpsHandler(), "/api/v1/records?state=recovered"); !strings.Contains(w.Body.String(), `"release": "web"`) {
				t.Errorf("every request gets the records: got %d %s", w.Code, w.Body)
			}
		})
	}
	reading.Wait()
	if got := reader.lists.Load(); got != 1 {
		t.Errorf("concurrent requests cost the API server one list: got %d", got)
	}
}

// defectiveReader panics over everything that it reads.
type defectiveReader struct{ records }

func (defectiveReader) All(context.Context) ([]rollback.Record, error) { panic("a defect") }

func (defectiveReader) Records(context.Context, rollback.Key, rollback.Consistency) ([]rollback.Record, error) {
	panic("a defect")
}

// A record can be made so that a read panics, and every reader can ask for it.
func TestAPanicOfASharedReadIsAnswered500(t *testing.T) {
	s, _ := newServer(t, func(o *handler.Options) { o.Reader = defectiveReader{} })
	for _, path := range []string{"/api/v1/records", "/api/v1/records/shop/web"} {
		if w := get(s.OpsHandler(), path); w.Code != http.StatusInternalServerError {
			t.Errorf("%s: a panic ends the request, not the process: got %d", path, w.Code)
		}
	}
}
