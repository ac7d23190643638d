package scenarios

import (
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/report"
	"github.com/upcommerce/backout/tests/env/stage"
)

// A sender with the token posts an alert that no rule has. Prometheus runs the shipped
// rules and can be asked, so the canary keeps its weight the whole time.
func TestAnInventedAlertTouchesNothing(t *testing.T) {
	t.Parallel()
	st := open(t)
	b := backout(t, st, 0, stage.QueryPrometheus())
	ready(t, b, "cannot confirm alerts: ") // it does not run yet
	metric(t, b, `backout_prometheus_can_confirm{server="`+strings.TrimPrefix(stage.QueryPrometheus()["BACKOUT_PROMETHEUS_URLS"], "http://")+`"} 0`)
	prometheus(t, st, alertmanager(t, st, 0, b))
	ready(t, b, "")
	before, version := look(t, st), ingressVersion(t, st)
	if code, text := post(t, b, stage.Token, payload(t, labels(map[string]string{"alertname": "Invented"}))); code != http.StatusOK {
		t.Fatalf("answered %d (%s), want 200", code, text)
	}
	r := record(t, b, 2, closed)
	if d := r.Decision(); d.Verdict != rollback.Unconfirmed || !strings.Contains(d.Reason, "has an alert rule named Invented") || r.Shed != nil {
		t.Errorf("%s; want unconfirmed, with the reason, and no shed", report.Summary(&r))
	}
	before.Records++
	if after := look(t, st); !reflect.DeepEqual(after, before) || ingressVersion(t, st) != version {
		t.Errorf("something but the record was written: %+v, want %+v; resource version of the Ingress %s, want %s", after, before, ingressVersion(t, st), version)
	}
}

// ingressVersion changes with every write to the canary's Ingress.
func ingressVersion(t *testing.T, st *stage.Stage) string {
	t.Helper()
	ingress, err := st.Client.NetworkingV1().Ingresses(stage.Namespace).Get(limited(t), stage.CanaryIngress, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return ingress.ResourceVersion
}

// ready waits until a backout that is ready says that about itself; "" is nothing.
func ready(t *testing.T, b *stage.Backout, degraded string) {
	t.Helper()
	ctx := limited(t)
	for {
		code, text, err := b.Get(ctx, "/readyz")
		says := strings.TrimPrefix(text, "ok\n")
		switch {
		case err != nil || code != http.StatusOK:
			t.Fatalf("/readyz: %d %s, %v; a receiver that cannot confirm alerts stays ready", code, text, err)
		case degraded == "" && says == "", degraded != "" && strings.Contains(says, degraded):
			return
		case ctx.Err() != nil:
			t.Fatalf("/readyz: %s; want %q", text, degraded)
		}
		time.Sleep(100 * time.Millisecond)
	}
}
