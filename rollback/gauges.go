package rollback

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// helpGrace is how long after its end a record that failed, or did not help, is
// counted among those that call for a person: nobody tells when they were seen to.
const helpGrace = 4 * time.Hour

// standing is what Prometheus is told of the records, read from a board whenever
// it scrapes. Every replica tells the same.
type standing struct {
	board *Board

	records, open, help, last *prometheus.Desc
}

func newStanding(b *Board) *standing {
	release := []string{"namespace", "release"}
	return &standing{
		board: b,
		records: prometheus.NewDesc("backout_records",
			"Records that are kept, by state.", []string{"state"}, nil),
		open: prometheus.NewDesc("backout_records_open",
			"Records that backout still works on.", nil, nil),
		help: prometheus.NewDesc("backout_records_need_help",
			"Records of a release that call for a person; one that failed or did not help, for 4 hours after its end.", release, nil),
		last: prometheus.NewDesc("backout_last_record_info",
			"The newest record of a release: verdict is why, state how far it has come. Always 1.",
			append(release, "revision", "verdict", "state"), nil),
	}
}

// Describe names what Collect tells.
func (s *standing) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{s.records, s.open, s.help, s.last} {
		to <- d
	}
}

// Collect tells how the records stand now.
func (s *standing) Collect(to chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, value int, labels ...string) {
		//nolint:promlinter // what d describes is in newStanding.
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(value), labels...)
	}
	now, open := time.Now(), 0
	states, help, newest := make(map[State]int), make(map[Key]int), make(map[Key]Row)
	for _, row := range s.board.View().Rows {
		states[row.State]++
		if row.Open() {
			open++
		}
		if _, known := help[row.Key]; !known {
			help[row.Key] = 0 // told of every release, so that a call ends in a 0
		}
		if row.Calls && (row.Open() || now.Sub(row.Closed) < helpGrace) {
			help[row.Key]++
		}
		if known, ok := newest[row.Key]; !ok || row.Opened.After(known.Opened) {
			newest[row.Key] = row
		}
	}
	gauge(s.open, open)
	for _, state := range States() {
		gauge(s.records, states[state], string(state))
	}
	for k, n := range help {
		gauge(s.help, n, k.Namespace, k.Release)
	}
	for k, row := range newest {
		gauge(s.last, 1, k.Namespace, k.Release, strconv.Itoa(row.Revision), string(row.Verdict), string(row.State))
	}
}

// registerQueue tells how much there is to do in this process.
func (e *Engine) registerQueue(reg prometheus.Registerer) {
	size := func(set map[Key]struct{}) func() float64 {
		return func() float64 {
			e.mu.Lock()
			defer e.mu.Unlock()
			return float64(len(set))
		}
	}
	reg.MustRegister(
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "backout_releases_due", Help: "Releases whose records wait to be looked at.",
		}, size(e.due)),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "backout_releases_in_work", Help: "Releases whose records are being worked on.",
		}, size(e.active)),
	)
}
