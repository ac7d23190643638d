package main

import (
	"bytes"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"sync"
	"time"

	"github.com/VictoriaMetrics/VictoriaMetrics/app/vmalert/datasource"
	"github.com/VictoriaMetrics/VictoriaMetrics/app/vmalert/notifier"
	"github.com/VictoriaMetrics/VictoriaMetrics/app/vmalert/templates"
	"github.com/VictoriaMetrics/VictoriaMetrics/app/vminsert"
	"github.com/VictoriaMetrics/VictoriaMetrics/app/vminsert/promremotewrite"
	"github.com/VictoriaMetrics/VictoriaMetrics/app/vmselect"
	"github.com/VictoriaMetrics/VictoriaMetrics/app/vmselect/prometheus"
	"github.com/VictoriaMetrics/VictoriaMetrics/app/vmselect/promql"
	"github.com/VictoriaMetrics/VictoriaMetrics/app/vmstorage"
	"github.com/VictoriaMetrics/VictoriaMetrics/lib/decimal"
	"github.com/VictoriaMetrics/VictoriaMetrics/lib/encoding/zstd"
	"github.com/VictoriaMetrics/VictoriaMetrics/lib/httpserver"
	"github.com/VictoriaMetrics/VictoriaMetrics/lib/prompb"
	"github.com/VictoriaMetrics/metrics"

	"github.com/upcommerce/backout/tests/tools/engines"
)

// victoria is VictoriaMetrics in this process, with the API that vmalert uses on the loopback interface.
type victoria struct {
	server *httptest.Server
	dir    string
}

const (
	maxQueries = 2
	maxWait    = 5 * time.Second
)

func newVictoria() (*victoria, error) {
	dir, err := os.MkdirTemp("", "engines-")
	if err != nil {
		return nil, fmt.Errorf("make a directory for the storage: %w", err)
	}
	if err := templates.Load(nil, url.URL{}); err != nil {
		return nil, fmt.Errorf("load vmalert's templates: %w", err)
	}
	v := &victoria{server: httptest.NewServer(http.HandlerFunc(serve)), dir: dir}
	for name, value := range map[string]string{
		"storageDataPath":     dir,
		"loggerLevel":         "ERROR",
		"search.disableCache": "true",
		"retentionPeriod":     "100y",
		"datasource.url":      v.server.URL,
		"notifier.blackhole":  "true",
	} {
		if err := flag.Set(name, value); err != nil {
			return nil, fmt.Errorf("set -%s: %w", name, err)
		}
	}
	vminsert.Init()
	vmselect.Init(maxQueries, maxWait)
	if err := notifier.Init(nil, ""); err != nil {
		return nil, fmt.Errorf("start vmalert's notifier: %w", err)
	}
	return v, nil
}

// serve is the part of VictoriaMetrics' API that vmalert uses.
func serve(w http.ResponseWriter, r *http.Request) {
	var err error
	switch r.URL.Path {
	case "/api/v1/query":
		err = prometheus.QueryHandler(nil, time.Now(), w, r)
	case "/api/v1/write":
		err = promremotewrite.InsertHandler(r)
	}
	if err != nil {
		httpserver.Errorf(w, r, "%s", err)
	}
}

// open starts an empty storage with the series of a sample, and close ends it.
func (v *victoria) open(s engines.Sample) (datasource.QuerierBuilder, error) {
	vmstorage.Init(maxQueries, maxWait, promql.ResetRollupResultCacheIfNeeded)
	for _, series := range s.Series {
		ts := prompb.TimeSeries{}
		for name, value := range series.Labels {
			ts.Labels = append(ts.Labels, prompb.Label{Name: name, Value: value})
		}
		for i, at := range series.Times {
			value := decimal.StaleNaN
			if p := series.Values[i]; p != nil {
				value = *p
			}
			ts.Samples = append(ts.Samples, prompb.Sample{Timestamp: at, Value: value})
		}
		if err := v.write([]prompb.TimeSeries{ts}); err != nil {
			return nil, err
		}
	}
	vmstorage.DebugFlush()
	q, err := datasource.Init(nil)
	if err != nil {
		return nil, fmt.Errorf("start vmalert's datasource: %w", err)
	}
	return q, nil
}

func (v *victoria) close() {
	vmstorage.Stop()
	metrics.UnregisterAllMetrics()
	_ = os.RemoveAll(v.dir)
}

func (v *victoria) stop() {
	vmselect.Stop()
	vminsert.Stop()
	v.server.Close()
	_ = os.RemoveAll(v.dir)
}

func (v *victoria) write(series []prompb.TimeSeries) error {
	body := zstd.CompressLevel(nil, (&prompb.WriteRequest{Timeseries: series}).MarshalProtobuf(nil), 1)
	r, err := http.NewRequest(http.MethodPost, v.server.URL+"/api/v1/write", bytes.NewReader(body)) //nolint:noctx // to this process
	if err != nil {
		return fmt.Errorf("write series: %w", err)
	}
	r.Header.Set("Content-Encoding", "zstd")
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return fmt.Errorf("write series: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode/100 != 2 {
		return fmt.Errorf("write series: %s", response.Status)
	}
	return nil
}

// results are what vmalert records: its remote write, which is on its way until flush.
type results struct {
	mu      sync.Mutex
	waiting []prompb.TimeSeries
	to      *victoria
	each    func(prompb.TimeSeries)
}

// Push implements vmalert's remote write.
func (r *results) Push(ts prompb.TimeSeries) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	samples := make([]prompb.Sample, len(ts.Samples))
	copy(samples, ts.Samples)
	ts.Samples = samples
	ts.Labels = append([]prompb.Label(nil), ts.Labels...)
	r.waiting = append(r.waiting, ts)
	r.each(ts)
	return nil
}

// Close implements vmalert's remote write.
func (*results) Close() error { return nil }

func (r *results) flush() error {
	if len(r.waiting) == 0 {
		return nil
	}
	err := r.to.write(r.waiting)
	r.waiting = nil
	vmstorage.DebugFlush()
	return err
}
