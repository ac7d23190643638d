package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"time"

	promv1 "github.com/prometheus/client_golang/api/prometheus/v1"

	"github.com/upcommerce/backout/tests/stage"
)

// What the demo waits to see, in the order in which it should come.
const (
	sawBad        = "first bad request"
	sawPending    = "pending"
	sawFiring     = "firing"
	sawWebhook    = "webhook"
	sawRecord     = "record"
	sawZero       = "weight zero"
	sawLastBad    = "last bad request"
	sawRolledBack = "rolled back"
	sawRaised     = "weight raised"
	sawJudged     = "judged"
)

// moment is one thing that was seen.
type moment struct {
	kind, text string
	at         time.Time
}

// moments are in the order in which they were learnt of.
type moments []moment

func (m moments) first(kind string) (moment, bool) {
	i := slices.IndexFunc(m, func(o moment) bool { return o.kind == kind })
	if i < 0 {
		return moment{}, false
	}
	return m[i], true
}

// lookInterval is how often Prometheus and the shoppers are asked.
const lookInterval = 50 * time.Millisecond

// judgeInterval is how often the record is asked whether it helped.
const judgeInterval = time.Second

// watch shows each moment as it comes, until backout has judged whether it helped,
// and a line while nothing comes.
func (s *story) watch(ctx context.Context) error {
	seen := 0
	patience := time.NewTicker(5 * time.Second)
	defer patience.Stop()
	look := time.NewTicker(lookInterval)
	defer look.Stop()
	judge := time.NewTicker(judgeInterval)
	defer judge.Stop()
	for {
		select {
		case <-ctx.Done():
			return fmt.Errorf("not everything happened in time: %w; backout's log:\n%s", ctx.Err(), readFile(s.backout.Child.Log()))
		case <-patience.C:
			s.tellWaiting()
		case <-judge.C:
			if err := s.lookAtOutcome(ctx); err != nil {
				return err
			}
		case <-look.C:
		}
		s.lookAtShoppers()
		s.lookAtPrometheus(ctx)
		events := s.timeline.Events()
		for _, e := range events[seen:] {
			if err := s.see(ctx, e); err != nil {
				return err
			}
		}
		seen = len(events)
		if _, ok := s.moments.first(sawJudged); ok {
			s.lookBack()
			return nil
		}
	}
}

// lookAtOutcome notes whether it helped, once backout has judged that.
func (s *story) lookAtOutcome(ctx context.Context) error {
	if _, raised := s.moments.first(sawRaised); !raised {
		return nil
	}
	record, err := s.record(ctx)
	if err != nil {
		return err
	}
	if record.Outcome != "" {
		s.note(moment{sawJudged, fmt.Sprintf("%s: %s", record.Outcome, record.Verify.Note), record.Verify.Done})
	}
	return nil
}

// lookAtShoppers notes the first request that failed.
func (s *story) lookAtShoppers() {
	if _, known := s.moments.first(sawBad); known {
		return
	}
	for _, v := range s.shoppers.Visits() {
		if v.Failed() {
			s.note(moment{sawBad, "a shopper got " + v.String(), v.At})
			return
		}
	}
}

// lookBack notes the last request that failed, and how many did.
func (s *story) lookBack() {
	failed := slices.DeleteFunc(s.shoppers.Visits(), func(v stage.Visit) bool { return !v.Failed() })
	if len(failed) == 0 {
		return
	}
	last := failed[len(failed)-1]
	s.note(moment{sawLastBad, fmt.Sprintf("of %d that failed, out of %d", len(failed), len(s.shoppers.Visits())), last.At})
}

// lookAtPrometheus notes since when the alert is active, if it has to wait before
// it fires.
func (s *story) lookAtPrometheus(ctx context.Context) {
	if _, known := s.moments.first(sawPending); known {
		return
	}
	alerts, err := s.prometheus.Alerts(ctx)
	if err != nil {
		return // asked again at once
	}
	for _, a := range alerts {
		if a.State == promv1.AlertStatePending && a.Labels["release"] == stage.Release {
			s.note(moment{sawPending, string(a.Labels["alertname"]), a.ActiveAt})
		}
	}
}

// see notes what the API server committed.
func (s *story) see(ctx context.Context, e stage.Event) error {
	switch {
	case e.Kind == stage.SawRecord:
		record, err := s.record(ctx)
		if err != nil {
			return err
		}
		a := record.Accusations[0]
		s.note(moment{sawFiring, a.Alert + ": " + a.Summary, a.StartsAt})
		s.note(moment{sawWebhook, "Alertmanager's post reached backout", a.Received})
		s.note(moment{sawRecord, "ConfigMap " + e.Name, e.At})
	case e.Kind == stage.SawWeight && e.Value == "0":
		s.note(moment{sawZero, "Ingress " + e.Name + " at the API server", e.At})
	case e.Kind == stage.SawWeight:
		s.note(moment{sawRaised, fmt.Sprintf("v2's pods are ready; Ingress %s has its weight of %s again", e.Name, e.Value), e.At})
	case e.Kind == stage.SawRevision && e.Value == backToRevision:
		s.note(moment{sawRolledBack, "Helm revision " + e.Value, e.At})
	}
	return nil
}

func (s *story) note(m moment) {
	s.moments = append(s.moments, m)
	fmt.Fprintf(s.out, "  %s  %-18s %s\n", s.since(m), m.kind, m.text)
}

// since is the time from the first bad request, which everything is counted from.
func (s *story) since(m moment) string {
	began, known := s.moments.first(sawBad)
	if !known {
		return "         "
	}
	return fmt.Sprintf("%+8.3fs", m.at.Sub(began.at).Seconds())
}

func (s *story) tellWaiting() {
	last := "the first bad request"
	if n := len(s.moments); n > 0 {
		last = "what follows " + s.moments[n-1].kind
	}
	fmt.Fprintf(s.out, "  %9s  waiting for %s; %d requests so far\n", "", last, len(s.shoppers.Visits()))
}

func readFile(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return string(text)
}
