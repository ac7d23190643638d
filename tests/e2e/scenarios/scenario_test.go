// Package scenarios tests backout end to end on a real control plane: with real Helm, a
// real Alertmanager, and backout as a process of its own that receives alerts at its
// webhook.
package scenarios

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/report"
	"github.com/upcommerce/backout/tests/env/sandbox"
	"github.com/upcommerce/backout/tests/env/stage"
)

// patience bounds every wait of a scenario. A wait ends as soon as its condition is
// true.
const patience = 3 * time.Minute

// open returns a stage on a sandbox of its own, with v2 installed at 20% and the
// canary upgraded to v3.
func open(t *testing.T) *stage.Stage {
	t.Helper()
	st := empty(t)
	ctx := limited(t)
	for _, canary := range [][]string{stage.Canary("v2", "green", 20), stage.Canary("v3", "yellow", 20)} {
		if err := st.Install(ctx, stage.Release, canary...); err != nil {
			t.Fatal(err)
		}
	}
	return st
}

// empty returns a stage with nothing installed.
func empty(t *testing.T) *stage.Stage {
	t.Helper()
	return stage.Start(t)
}

func limited(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// backout runs a backout; the sandbox shows its log if the test fails.
func backout(t *testing.T, st *stage.Stage, number int, env map[string]string) *stage.Backout {
	t.Helper()
	b, err := st.Backout(limited(t), number, env)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func alertmanager(t *testing.T, st *stage.Stage, number int, b *stage.Backout) *sandbox.Alertmanager {
	t.Helper()
	a, err := st.Sandbox.Alertmanager(limited(t), sandbox.AlertmanagerOptions{
		Name: fmt.Sprintf("alertmanager-%d", number), Port: 9093 + 100*number,
		WebhookURL: b.Inside, TokenFile: b.TokenFile,
	})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func watch(t *testing.T, st *stage.Stage) *stage.Timeline {
	t.Helper()
	timeline, err := st.Watch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return timeline
}

// labels returns the labels of an alert about v3, with changes; "" removes a label.
func labels(changes map[string]string) map[string]string {
	all := map[string]string{
		"alertname": "CanaryErrors", "backout": "rollback", "namespace": stage.Namespace,
		"release": stage.Release, "version": "v3",
	}
	for name, value := range changes {
		if all[name] = value; value == "" {
			delete(all, name)
		}
	}
	return all
}

// payload returns a webhook body as Alertmanager posts it, with one firing alert.
func payload(t *testing.T, labels map[string]string) []byte {
	t.Helper()
	body, err := json.Marshal(map[string]any{
		"version": "4", "groupKey": "{}", "status": "firing", "receiver": "backout",
		"groupLabels": map[string]string{}, "commonLabels": labels, "commonAnnotations": map[string]string{},
		"externalURL": "http://alertmanager", "truncatedAlerts": 0,
		"alerts": []map[string]any{{
			"status": "firing", "labels": labels, "annotations": map[string]string{"summary": "half the requests fail"},
			"startsAt": time.Now().Format(time.RFC3339Nano), "endsAt": "0001-01-01T00:00:00Z", "fingerprint": "0123456789abcdef",
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// post posts a body and returns the status code.
func post(t *testing.T, b *stage.Backout, token string, body []byte) (int, string) {
	t.Helper()
	code, text, err := b.Post(limited(t), token, body)
	if err != nil {
		t.Fatal(err)
	}
	return code, text
}

// record waits until the record about that revision of the usual release is as
// wanted, and returns it.
func record(t *testing.T, b *stage.Backout, revision int, wanted func(rollback.Record) bool) rollback.Record {
	t.Helper()
	return recordOf(t, b, stage.Release, revision, wanted)
}

func recordOf(t *testing.T, b *stage.Backout, release string, revision int, wanted func(rollback.Record) bool) rollback.Record {
	t.Helper()
	ctx := limited(t)
	var last []rollback.Record
	for {
		records, err := b.Records(ctx, release)
		if err == nil {
			last = records
		}
		for _, r := range records {
			if r.Revision == revision && wanted(r) {
				return r
			}
		}
		select {
		case <-ctx.Done():
			log, _ := os.ReadFile(b.Child.Log())
			t.Fatalf("no such record about revision %d; %s\nbackout's log:\n%s", revision, summaries(last), log)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// summaries says on one line what each record is about, and which of its alerts still fire.
func summaries(records []rollback.Record) string {
	if len(records) == 0 {
		return "there is no record"
	}
	texts := make([]string, 0, len(records))
	for _, r := range records {
		text := report.Summary(&r)
		for _, s := range r.Signals {
			state := "resolved"
			if s.Resolved.IsZero() {
				state = "fires since " + s.StartsAt.Format(time.TimeOnly)
			}
			text += fmt.Sprintf(", %s of revision %d %s", s.Alert, s.Revision, state)
		}
		texts = append(texts, text)
	}
	return "the records: " + strings.Join(texts, "; ")
}

// metric waits until backout's metrics contain that line.
func metric(t *testing.T, b *stage.Backout, line string) {
	t.Helper()
	ctx := limited(t)
	for {
		_, text, err := b.Get(ctx, "/metrics")
		if err == nil && strings.Contains(text, line+"\n") {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("metrics lack %q: %v", line, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func rolledBack(r rollback.Record) bool { return r.Rollback.Succeeded() }
func restored(r rollback.Record) bool   { return r.Restore.Succeeded() }
func closed(r rollback.Record) bool     { return !r.Closed.IsZero() }

// state is the state of the cluster that a refused alert must not change.
type state struct {
	Revisions []string
	Weight    string
	Records   int
}

func look(t *testing.T, st *stage.Stage) state {
	t.Helper()
	ctx := limited(t)
	secrets, err := st.Client.CoreV1().Secrets(stage.Namespace).List(ctx, metav1.ListOptions{LabelSelector: "owner=helm"})
	if err != nil {
		t.Fatal(err)
	}
	ingress, err := st.Client.NetworkingV1().Ingresses(stage.Namespace).Get(ctx, stage.CanaryIngress, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	maps, err := st.Client.CoreV1().ConfigMaps(metav1.NamespaceAll).List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/managed-by=backout"})
	if err != nil {
		t.Fatal(err)
	}
	s := state{Weight: ingress.Annotations[stage.WeightAnnotation], Records: len(maps.Items)}
	for _, secret := range secrets.Items {
		s.Revisions = append(s.Revisions, secret.Labels["version"]+" "+secret.Labels["status"]+" "+secret.ResourceVersion)
	}
	return s
}
