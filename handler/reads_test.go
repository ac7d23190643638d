package handler_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/upcommerce/backout/handler"
	"github.com/upcommerce/backout/rollback"
)

// slowReader counts the reads of single releases and records, each of which takes a
// second.
type slowReader struct {
	records

	reads atomic.Int32
}

func (s *slowReader) Records(ctx context.Context, k rollback.Key, c rollback.Consistency) ([]rollback.Record, error) {
	s.reads.Add(1)
	time.Sleep(time.Second)
	return s.records.Records(ctx, k, c)
}

func (s *slowReader) Record(ctx context.Context, k rollback.Key, revision int) (rollback.Record, bool, error) {
	s.reads.Add(1)
	time.Sleep(time.Second)
	return s.records.Record(ctx, k, revision)
}

func TestReadsOfTheOpsListenerAreSharedAndBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reader := &slowReader{records: records{all: []rollback.Record{rolledBack("web", 2, time.Hour)}}}
		s, _ := newServer(t, func(o *handler.Options) { o.Reader = reader })
		together := func(n int, path func(i int) string) (codes [600]int32) {
			var reading sync.WaitGroup
			for i := range n {
				reading.Go(func() { atomic.AddInt32(&codes[get(s.OpsHandler(), path(i)).Code], 1) })
			}
			reading.Wait()
			return codes
		}
		k := reader.all[0].Key
		for _, path := range []string{"/api/v1/records/" + k.String(), "/api/v1/records/" + k.String() + "/2", "/records/" + k.String() + "/2"} {
			time.Sleep(time.Minute)
			reader.reads.Store(0)
			if codes := together(100, func(int) string { return path }); codes[http.StatusOK] != 100 || reader.reads.Load() != 1 {
				t.Errorf("%s: requests at the same time share one read: got %d answers, %d reads", path, codes[http.StatusOK], reader.reads.Load())
			}
		}
		time.Sleep(time.Minute)
		reader.reads.Store(0)
		codes := together(1000, func(i int) string { return fmt.Sprintf("/api/v1/records/shop/none-%d", i) })
		if codes[http.StatusServiceUnavailable] != 1000-64 || reader.reads.Load() != 64 {
			t.Errorf("64 releases are read at a time, the other requests are answered 503: got %d, with %d reads", codes[http.StatusServiceUnavailable], reader.reads.Load())
		}
		time.Sleep(time.Minute)
		if w := get(s.OpsHandler(), "/api/v1/records/"+k.String()); !strings.Contains(w.Body.String(), `"release": "web"`) {
			t.Errorf("afterwards everything is read again: got %d %s", w.Code, w.Body)
		}
		time.Sleep(time.Minute)
	})
}

func TestTheOpsListenerReadsOnlyOptedInReleases(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reader := &slowReader{records: records{all: []rollback.Record{rolledBack("web", 2, time.Hour)}}}
		k := reader.all[0].Key
		s, _ := newServer(t, func(o *handler.Options) {
			o.Reader, o.Allows = reader, func(other rollback.Key) bool { return other.Namespace != k.Namespace }
		})
		for _, path := range []string{"/api/v1/records/" + k.String(), "/api/v1/records/" + k.String() + "/2", "/records/" + k.String() + "/2"} {
			if w := get(s.OpsHandler(), path); strings.Contains(w.Body.String(), `"uid"`) || reader.reads.Load() != 0 {
				t.Errorf("%s: nothing is read of a release that is not opted in: got %d %s", path, w.Code, w.Body)
			}
		}
	})
}

// Of a release that is not opted in, lists show what backout has signed, and nothing that
// another client wrote.
func TestListsShowNoForgedRecordOfAReleaseThatIsNotOptedIn(t *testing.T) {
	signed, forged := rolledBack("web", 2, time.Hour), rolledBack("forged", 2, time.Hour)
	forged.Unsigned = true
	s, _ := newServer(t, func(o *handler.Options) {
		o.Reader, o.Allows = records{all: []rollback.Record{signed, forged}}, func(rollback.Key) bool { return false }
	})
	w := get(s.OpsHandler(), "/api/v1/records")
	if text := w.Body.String(); !strings.Contains(text, signed.Release) || strings.Contains(text, forged.Release) {
		t.Errorf("the list has the signed record alone: %s", text)
	}
}

func TestReadinessIsCheckedOnceASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var checks atomic.Int32
		away := errors.New("the API server is away")
		s, _ := newServer(t, func(o *handler.Options) {
			o.Ready = func(context.Context) error {
				if checks.Add(1) > 1 {
					return away
				}
				return nil
			}
		})
		for range 100 {
			if w := get(s.OpsHandler(), "/readyz"); w.Code != http.StatusOK {
				t.Fatalf("the first check answers: got %d", w.Code)
			}
		}
		time.Sleep(time.Second)
		if w := get(s.OpsHandler(), "/readyz"); w.Code != http.StatusServiceUnavailable || checks.Load() != 2 {
			t.Errorf("a second later it is checked again: got %d, after %d checks", w.Code, checks.Load())
		}
	})
}

// A list of all records may be long, and its reader slow: only some are written at a time.
func TestListsOfAllRecordsAreWrittenAFewAtATime(t *testing.T) {
	s, _ := newServer(t, func(o *handler.Options) { o.Reader = records{all: []rollback.Record{rolledBack("web", 2, time.Hour)}} })
	var writing sync.WaitGroup
	unblock, blocked := make(chan struct{}), make(chan struct{}, 8)
	for range 8 {
		writing.Go(func() {
			s.OpsHandler().ServeHTTP(&slowWriter{httptest.NewRecorder(), blocked, unblock}, httptest.NewRequest(http.MethodGet, "/api/v1/records", nil))
		})
	}
	for range 8 {
		<-blocked
	}
	if w := get(s.OpsHandler(), "/api/v1/records"); w.Code != http.StatusServiceUnavailable {
		t.Errorf("the ninth list at a time is answered 503: got %d", w.Code)
	}
	close(unblock)
	writing.Wait()
	if w := get(s.OpsHandler(), "/api/v1/records"); w.Code != http.StatusOK {
		t.Errorf("the next one is answered: got %d", w.Code)
	}
}

// slowWriter is a reader of an answer who takes nothing until unblock.
type slowWriter struct {
	*httptest.ResponseRecorder

	blocked, unblock chan struct{}
}

func (w *slowWriter) Write(b []byte) (int, error) {
	w.blocked <- struct{}{}
	<-w.unblock
	return len(b), nil
}
