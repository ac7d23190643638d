package scenarios

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/upcommerce/backout/tests/env/stage"
)

// awaitPods waits until backout's metrics say whose the pods of the release are, as "REVISION VERSION TRACK" for each ReplicaSet that has
// some, and when each of these revisions was deployed.
func awaitPods(t *testing.T, b *stage.Backout, want ...string) {
	t.Helper()
	began, ctx := time.Now(), limited(t)
	for {
		_, text, err := b.Get(ctx, "/metrics")
		got := pods(text)
		if err == nil && slices.Equal(got, want) {
			break
		}
		select {
		case <-ctx.Done():
			t.Fatalf("backout_workload_info shows %q, want %q: %v\n%s", got, want, err, workloadMetrics(text))
		case <-time.After(50 * time.Millisecond):
		}
	}
	t.Logf("backout_workload_info shows %q after %s", want, time.Since(began).Round(time.Millisecond))
	for _, pods := range want {
		revision, _, _ := strings.Cut(pods, " ")
		_, text, err := b.Get(ctx, "/metrics")
		deployed := fmt.Sprintf("backout_release_deployed_timestamp_seconds{namespace=%q,release=%q,revision=%q} ", stage.Namespace, stage.Release, revision)
		if err != nil || !strings.Contains(text, deployed) {
			t.Errorf("metrics lack %s: %v\n%s", deployed, err, workloadMetrics(text))
		}
	}
}

// pods returns the series of backout_workload_info about the ReplicaSets of the release, in order.
func pods(metrics string) []string {
	var found []string
	for line := range strings.Lines(metrics) {
		if !strings.HasPrefix(line, "backout_workload_info{") || !strings.Contains(line, fmt.Sprintf("release=%q", stage.Release)) || !strings.Contains(line, `kind="ReplicaSet"`) {
			continue
		}
		label := func(name string) string {
			match := regexp.MustCompile(`[{,]` + name + `="([^"]*)"`).FindStringSubmatch(line)
			if match == nil {
				return ""
			}
			return match[1]
		}
		found = append(found, label("revision")+" "+label("version")+" "+label("track"))
	}
	slices.Sort(found)
	return found
}

// workloadMetrics returns the lines about workloads and deployments.
func workloadMetrics(metrics string) string {
	var found []string
	for line := range strings.Lines(metrics) {
		if strings.HasPrefix(line, "backout_workload_info") || strings.HasPrefix(line, "backout_release_deployed") || strings.HasPrefix(line, "backout_replicasets") {
			found = append(found, line)
		}
	}
	return strings.Join(found, "")
}
