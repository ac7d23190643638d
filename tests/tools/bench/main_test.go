// Package bench compares backout with the bare operation: one PATCH, Helm's own rollback,
// the smallest cluster. Both are measured in the same run on the same API server, so that
// their ratio is meaningful on any machine. `make bench` runs it and prints a table at the
// end; no number fails a test.
package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/tests/env/stage"
)

// results are the results of this run's benchmarks.
var results table

func TestMain(m *testing.M) {
	code := m.Run()
	if err := results.print(os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// site is a sandbox with a backout, for the benchmarks.
type site struct {
	stage   *stage.Stage
	client  kubernetes.Interface
	backout *stage.Backout
	sender  sender
}

// open opens a sandbox with nothing installed and no backout.
func open(t testing.TB) *site {
	t.Helper()
	st, err := stage.Open(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Sandbox.Close(); err != nil {
			t.Errorf("close the sandbox: %v", err)
		}
	})
	return &site{stage: st, client: st.Client}
}

// environment returns the environment of a backout that guards every release of the
// namespaces, and for which alerts about hundreds of releases are not a storm.
func environment(namespaces ...string) map[string]string {
	var allowed []string
	for _, namespace := range namespaces {
		allowed = append(allowed, namespace+"/*")
	}
	return map[string]string{
		"BACKOUT_RELEASES":       strings.Join(allowed, ","),
		"BACKOUT_STORM_RELEASES": "1000000",
		// No verification during a measurement.
		"BACKOUT_VERIFY": "2m", "BACKOUT_VERIFY_LIMIT": "10m",
	}
}

// start creates the namespaces and runs backout for them.
func (s *site) start(t testing.TB, namespaces ...string) {
	t.Helper()
	s.spaces(t, namespaces...)
	var err error
	if s.backout, err = s.stage.Backout(t.Context(), 0, environment(namespaces...)); err != nil {
		t.Fatal(err)
	}
	s.sender = newSender(s.backout.WebhookURL())
	t.Cleanup(func() {
		if t.Failed() {
			text, _ := os.ReadFile(s.backout.Child.Log())
			lines := strings.Split(string(text), "\n")
			t.Logf("backout's log ends:\n%s", strings.Join(lines[max(0, len(lines)-20):], "\n"))
		}
	})
}

// spaces creates the namespaces.
func (s *site) spaces(t testing.TB, names ...string) {
	t.Helper()
	for _, name := range names {
		if _, err := s.client.CoreV1().Namespaces().Create(t.Context(),
			&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
}

// sender posts alerts as a running Alertmanager does, over connections that it keeps open.
type sender struct {
	url    string
	client *http.Client
}

func newSender(url string) sender {
	return sender{url: url, client: &http.Client{
		Timeout: time.Minute, Transport: &http.Transport{MaxIdleConnsPerHost: 64},
	}}
}

// labels returns the labels of an alert about the release, with additions.
func labels(k rollback.Key, level rollback.Level, more map[string]string) map[string]string {
	all := map[string]string{
		"alertname": "CanaryErrors", "backout": string(level), "namespace": k.Namespace, "release": k.Release,
	}
	maps.Copy(all, more)
	return all
}

// post posts one firing alert that starts now and returns the status of the answer. Its
// fingerprint is derived from its labels, as in Alertmanager.
func (s sender) post(ctx context.Context, alert map[string]string) (int, error) {
	names := slices.Sorted(maps.Keys(alert))
	var fingerprint strings.Builder
	for _, name := range names {
		fingerprint.WriteString(name + "=" + alert[name] + ",")
	}
	body, err := json.Marshal(map[string]any{
		"version": "4", "groupKey": "{}", "status": "firing", "receiver": "backout",
		"groupLabels": map[string]string{}, "commonLabels": alert, "commonAnnotations": map[string]string{},
		"externalURL": "http://alertmanager", "truncatedAlerts": 0,
		"alerts": []map[string]any{{
			"status": "firing", "labels": alert, "annotations": map[string]string{"summary": "half the requests fail"},
			"startsAt": time.Now().Format(time.RFC3339Nano), "endsAt": "0001-01-01T00:00:00Z", "fingerprint": fingerprint.String(),
		}},
	})
	if err != nil {
		return 0, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	request.Header.Set("Authorization", "Bearer "+stage.Token)
	answer, err := s.client.Do(request)
	if err != nil {
		return 0, err
	}
	defer func() { _ = answer.Body.Close() }()
	_, err = io.Copy(io.Discard, answer.Body)
	return answer.StatusCode, err
}

// stored posts the alert and returns how long it took until the webhook answered that it is
// stored.
func (s sender) stored(ctx context.Context, alert map[string]string) (time.Duration, error) {
	began := time.Now()
	code, err := s.post(ctx, alert)
	took := time.Since(began)
	if err == nil && code != http.StatusOK {
		err = fmt.Errorf("the webhook answered %d", code)
	}
	return took, err
}
