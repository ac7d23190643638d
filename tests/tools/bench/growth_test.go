package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/upcommerce/backout/rollback"
)

// The number of alerts that are measured for each size.
const (
	upgraded    = 30
	firstAlerts = 15
)

// growth is the goal for times that must not grow; the part above 1 is for the variance of medians.
const growth = 1.3

// memoryGoal is in bytes.
const memoryGoal = 100e6

// BenchmarkGrowth measures the time from the post of a webhook until backout has decided
// and stored, for histories and clusters of several sizes. The smallest size is the
// baseline. The alerts have the level observe, so that no step follows.
func BenchmarkGrowth(b *testing.B) {
	s := open(b)
	s.start(b, append(crowdSpaceNames(), "new", "history-1", "history-10", "history-50")...)
	b.Run("revisions", s.revisions)
	b.Run("first-alerts", s.firstAlerts)
	b.Run("releases", s.releases)
	b.Run("memory", s.memory)
}

// ordinary is how many revisions Helm keeps of a release by default.
const ordinary = 10

// revisionCounts are the lengths of history that are compared.
func revisionCounts() []int { return []int{1, ordinary, 50} }

// revisions posts an alert about each new revision of releases whose histories keep their
// length.
func (s *site) revisions(b *testing.B) {
	for b.Loop() {
		took := make(map[int]samples)
		for i := range upgraded + 1 {
			for _, n := range revisionCounts() {
				k := rollback.Key{Namespace: fmt.Sprintf("history-%d", n), Release: "shop"}
				one, err := s.next(b.Context(), k, n, i)
				if err != nil {
					b.Fatal(err)
				}
				if i > 0 {
					took[n] = append(took[n], one)
				}
			}
		}
		for _, n := range revisionCounts()[1:] {
			compare(b, fmt.Sprintf("alert stored, %d revisions against 1", n), took[1], took[n], goal{ratio: growth})
		}
	}
}

// next upgrades a release of n revisions for the i-th time, or creates it for i 0, and posts
// an alert about the new revision.
func (s *site) next(ctx context.Context, k rollback.Key, n, i int) (time.Duration, error) {
	var err error
	if i == 0 {
		err = s.history(k, n)
	} else {
		err = s.upgrade(ctx, k, n+i, n)
	}
	if err != nil {
		return 0, err
	}
	pause(ctx, breath)
	took, err := s.sender.stored(ctx, labels(k, rollback.LevelObserve, version(n+i)))
	pause(ctx, 2*breath)
	return took, err
}

// firstAlerts posts alerts about releases that are new to backout, so that it reads all
// their revisions.
func (s *site) firstAlerts(b *testing.B) {
	for b.Loop() {
		took := make(map[int]samples)
		for i := range firstAlerts {
			for _, n := range revisionCounts() {
				k := rollback.Key{Namespace: "new", Release: fmt.Sprintf("shop-%d-%d", n, i)}
				if err := s.history(k, n); err != nil {
					b.Fatal(err)
				}
				pause(b.Context(), breath)
				one, err := s.sender.stored(b.Context(), labels(k, rollback.LevelObserve, version(n)))
				if err != nil {
					b.Fatal(err)
				}
				took[n] = append(took[n], one)
				pause(b.Context(), 2*breath)
				if err := s.remove(b.Context(), k); err != nil {
					b.Fatal(err)
				}
			}
		}
		for _, n := range revisionCounts()[1:] {
			compare(b, fmt.Sprintf("first alert ever about a release, %d revisions against 1", n), took[1], took[n], goal{})
		}
	}
}

// releases is like revisions, while more and more other releases exist.
func (s *site) releases(b *testing.B) {
	for b.Loop() {
		k := rollback.Key{Namespace: crowdSpace(0), Release: "shop"}
		took := make(map[int]samples)
		filled, round := 1, 0
		for _, size := range []int{1, 100, crowd} {
			if err := s.gather(filled, size); err != nil {
				b.Fatal(err)
			}
			filled = size
			pause(b.Context(), time.Second)
			for i := range upgraded + 1 {
				one, err := s.next(b.Context(), k, ordinary, round)
				if err != nil {
					b.Fatal(err)
				}
				if i > 0 {
					took[size] = append(took[size], one)
				}
				round++
			}
		}
		for _, size := range []int{100, crowd} {
			compare(b, fmt.Sprintf("alert stored, %d releases against 1", size), took[1], took[size], goal{ratio: growth})
		}
	}
}

// memory posts an alert about every release of the cluster and reads backout's resident
// memory from its metrics.
func (s *site) memory(b *testing.B) {
	for b.Loop() {
		before, err := s.resident(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		if err := spread(1, crowd, func(i int) error {
			_, err := s.sender.stored(b.Context(), labels(crowded(i), rollback.LevelObserve, version(1)))
			return err
		}); err != nil {
			b.Fatal(err)
		}
		most := before
		for range 10 {
			pause(b.Context(), 300*time.Millisecond)
			now, err := s.resident(b.Context())
			if err != nil {
				b.Fatal(err)
			}
			most = max(most, now)
		}
		b.ReportMetric(0, "ns/op")
		b.ReportMetric(most/1e6, "resident-MB")
		results.add(row{
			what: fmt.Sprintf("resident memory, %d releases, one alert about each", crowd),
			bare: [2]string{"-", "-"}, backout: [2]string{fmt.Sprintf("%.0f MB", most/1e6), "-"},
			ratio: "-", target: fmt.Sprintf("<= %.0f MB", memoryGoal/1e6), met: most <= memoryGoal,
		})
	}
}

// resident returns backout's resident memory in bytes.
func (s *site) resident(ctx context.Context) (float64, error) {
	_, text, err := s.backout.Get(ctx, "/metrics")
	if err != nil {
		return 0, err
	}
	lines := bufio.NewScanner(strings.NewReader(text))
	for lines.Scan() {
		if value, ok := strings.CutPrefix(lines.Text(), "process_resident_memory_bytes "); ok {
			return strconv.ParseFloat(value, 64)
		}
	}
	return 0, errors.New("backout's metrics have no process_resident_memory_bytes")
}
