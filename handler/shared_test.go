package handler_test

import (
	"context"
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
	for range 20 {
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
