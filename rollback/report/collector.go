package report

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/upcommerce/backout/rollback"
)

// recordCollector describes the records of a board whenever Prometheus scrapes. Every
// replica reports the same.
type recordCollector struct {
	board *Board

	records, open, help, last *prometheus.Desc
}

// NewCollector returns the metrics of the records on b.
func NewCollector(b *Board) prometheus.Collector {
	release := []string{"namespace", "release"}
	return &recordCollector{
		board: b,
		records: prometheus.NewDesc("backout_records",
			"Records that are kept, by state.", []string{"state"}, nil),
		open: prometheus.NewDesc("backout_records_open",
			"Records that backout still works on.", nil, nil),
		help: prometheus.NewDesc("backout_records_need_help",
			"Records of a release for which an operator has to look; a closed one counts for 4 hours after its end, or until its release has a record about a newer revision.", release, nil),
		last: prometheus.NewDesc("backout_last_record_info",
			"The newest record of a release: verdict says why, state says how far it has come. Always 1.",
			append(release, "revision", "verdict", "state"), nil),
	}
}

// Describe implements prometheus.Collector.
func (c *recordCollector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.records, c.open, c.help, c.last} {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (c *recordCollector) Collect(to chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, value int, labels ...string) {
		//nolint:promlinter // NewCollector has the names and the help texts.
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(value), labels...)
	}
	view, open := c.board.View(), 0
	states, help := make(map[State]int), make(map[rollback.Key]int)
	for _, row := range view.Rows {
		states[row.State]++
		if row.Open() {
			open++
		}
		help[row.Key] = 0 // every release has a series, so that a 0 ends a request for help
	}
	for _, row := range view.NeedHelp(time.Now()) {
		help[row.Key]++
	}
	gauge(c.open, open)
	for _, state := range States() {
		gauge(c.records, states[state], string(state))
	}
	for k, n := range help {
		gauge(c.help, n, k.Namespace, k.Release)
	}
	for k, row := range view.Newest() {
		gauge(c.last, 1, k.Namespace, k.Release, strconv.Itoa(row.Revision), string(row.Verdict), string(row.State))
	}
}
