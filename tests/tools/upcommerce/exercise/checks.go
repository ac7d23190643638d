package exercise

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/upcommerce/backout/tests/env/stage"
)

// tries is the number of requests in which each version must answer once: with a canary
// at 20%, that fails once in 10^38 times.
const tries = 400

// Pages checks that the storefront serves each version's page in its colour.
func Pages(ctx context.Context, s *stage.Shoppers, colours map[string]string) error {
	seen := make(map[string]bool)
	for range tries {
		v := s.Visit(ctx)
		if v.Failed() {
			return fmt.Errorf("GET / is answered %s, want 200", v)
		}
		want, known := colours[v.Version]
		if !known {
			return fmt.Errorf("the page says \"Hello from version %s\", want one of %v", v.Version, colours)
		}
		if v.Color != want {
			return fmt.Errorf("the page of %s has the background-color %q, want %s", v.Version, v.Color, want)
		}
		if seen[v.Version] = true; len(seen) == len(colours) {
			return nil
		}
	}
	return fmt.Errorf("%d pages had the versions %v, want %v", tries, seen, colours)
}

// Metrics checks that each version exports the exercise's metrics at /metrics.
func Metrics(ctx context.Context, s *stage.Shoppers, versions ...string) error {
	left := make(map[string]bool)
	for _, v := range versions {
		left[v] = true
	}
	for range tries {
		code, text, err := s.Read(ctx, "/metrics")
		if err != nil || code != http.StatusOK {
			return fmt.Errorf("GET /metrics is answered %d, want 200: %w", code, errors.Join(err, errors.New(firstLine(text))))
		}
		for _, metric := range []string{"http_requests_total{", "process_cpu_seconds_total ", "process_resident_memory_bytes "} {
			if !strings.Contains(text, "\n"+metric) {
				return fmt.Errorf("/metrics has no %s", strings.Trim(metric, " {"))
			}
		}
		for v := range left {
			if strings.Contains(text, fmt.Sprintf("version=%q", v)) {
				delete(left, v)
			}
		}
		if len(left) == 0 {
			return nil
		}
	}
	return fmt.Errorf("none of %d answers at /metrics has the versions %v", tries, left)
}

// Split sends requests and checks that the version's share is within the range that a fair
// split gives in 99.9% of all cases. It returns the split in any case.
func Split(ctx context.Context, s *stage.Shoppers, version string) (stage.Split, error) {
	split := s.Split(ctx, measured)
	if !split.Within(version, percent/100.0) {
		return split, fmt.Errorf("%s does not get %d%% of the traffic: %s", version, percent, split)
	}
	return split, nil
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}
