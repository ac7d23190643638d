package handler_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	amalert "github.com/prometheus/alertmanager/alert"
	"github.com/prometheus/alertmanager/notify"
	"github.com/prometheus/alertmanager/notify/webhook"
	"github.com/prometheus/alertmanager/template"
	"github.com/prometheus/common/model"
	"go.yaml.in/yaml/v2"

	"github.com/upcommerce/backout/handler"
	"github.com/upcommerce/backout/rollback"
)

// The tests in this file post with Alertmanager's own notifier: they pin the behaviour on which
// backout relies, and break when an update of Alertmanager changes it.

// alertmanager is one of Alertmanager's webhook receivers, configured as in Alertmanager's own
// file: the settings follow the url.
type alertmanager struct{ *webhook.Notifier }

func newAlertmanager(t *testing.T, h http.Handler, settings string) alertmanager {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	var config webhook.WebhookConfig
	text := "url: " + server.URL + "/api/v1/alerts\nhttp_config: {}\n" + settings
	if settings != "" {
		text = "url: " + server.URL + "/api/v1/alerts\n" + settings
	}
	if err := yaml.UnmarshalStrict([]byte(text), &config); err != nil {
		t.Fatalf("Alertmanager reads this configuration: %v\n%s", err, text)
	}
	if !config.SendResolved() {
		t.Error("Alertmanager also posts resolved alerts, by default")
	}
	templates, err := template.FromGlobs(nil)
	if err != nil {
		t.Fatal(err)
	}
	templates.ExternalURL = &url.URL{Scheme: "http", Host: "alertmanager:9093"}
	notifier, err := webhook.New(&config, templates, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return alertmanager{notifier}
}

// send posts the alerts as one group and returns whether Alertmanager would post them again.
func (a alertmanager) send(t *testing.T, alerts ...*amalert.Alert) (retry bool, err error) {
	t.Helper()
	ctx := notify.WithGroupKey(t.Context(), `{}/{backout=~".+"}:{namespace="shop", release="web"}`)
	ctx = notify.WithReceiverName(ctx, "backout")
	ctx = notify.WithGroupLabels(ctx, model.LabelSet{"namespace": "shop", "release": "web"})
	return a.Notify(ctx, alerts...)
}

// amAlert is an alert as Alertmanager has it.
func amAlert(name string) *amalert.Alert {
	began := time.Now().Add(-time.Minute)
	return &amalert.Alert{Alert: model.Alert{
		Labels: model.LabelSet{
			"alertname": model.LabelValue(name), "backout": "rollback", "namespace": "shop", "release": "web", "version": "v3",
		},
		Annotations: model.LabelSet{"summary": "half of the requests fail"},
		StartsAt:    began, EndsAt: began.Add(time.Hour), GeneratorURL: "http://prometheus/graph",
	}, UpdatedAt: began}
}

func TestContractPayloadArrivesUnchanged(t *testing.T) {
	s, in := newServer(t, nil)
	am := newAlertmanager(t, s.Handler(), "")
	firing, resolved := amAlert("CanaryErrors"), amAlert("CanarySlow")
	resolved.EndsAt = time.Now().Add(-time.Second)
	if retry, err := am.send(t, firing, resolved); retry || err != nil {
		t.Fatalf("Alertmanager treats 200 as success: retry %t, %v", retry, err)
	}
	want := make([]rollback.Alert, 2)
	for i, a := range []*amalert.Alert{firing, resolved} {
		want[i] = rollback.Alert{
			Labels: map[string]string{
				"alertname": string(a.Labels["alertname"]), "backout": "rollback", "namespace": "shop", "release": "web", "version": "v3",
			},
			Annotations: map[string]string{"summary": "half of the requests fail"},
			Fingerprint: a.Labels.Fingerprint().String(), StartsAt: a.StartsAt, Resolved: i == 1, GeneratorURL: a.GeneratorURL, Route: "backout",
		}
	}
	sameInstant := cmp.Comparer(func(a, b time.Time) bool { return a.Equal(b) })
	if diff := cmp.Diff([][]rollback.Alert{want}, in.batches(), sameInstant); diff != "" {
		t.Fatalf("labels, annotations, fingerprint, start and status arrive unchanged (-want +got):\n%s", diff)
	}
	key, signal, err := in.batches()[0][0].Read(time.Now())
	if err != nil || key.String() != "shop/web" || signal.Level != rollback.LevelRollback || signal.Version != "v3" {
		t.Errorf("the alert becomes a signal for the release: got %s, %+v, %v", key, signal, err)
	}
}

// TestContractRepeatedAlertIsOneEpisode: a repeated alert has the same fingerprint and
// start.
func TestContractRepeatedAlertIsOneEpisode(t *testing.T) {
	s, in := newServer(t, nil)
	am := newAlertmanager(t, s.Handler(), "")
	alert := amAlert("CanaryErrors")
	for range 2 {
		if _, err := am.send(t, alert); err != nil {
			t.Fatal(err)
		}
	}
	var episodes []rollback.Episode
	for _, batch := range in.batches() {
		_, signal, err := batch[0].Read(time.Now())
		if err != nil {
			t.Fatal(err)
		}
		episodes = append(episodes, signal.Episode())
	}
	if len(episodes) != 2 || episodes[0] != episodes[1] {
		t.Errorf("an alert that is delivered twice is one episode: got %v", episodes)
	}
}

// TestContractTruncatedPayloadIsAccepted: with max_alerts, Alertmanager cuts alerts off
// before it computes the group's status, which then can be resolved while an alert fires.
func TestContractTruncatedPayloadIsAccepted(t *testing.T) {
	s, in := newServer(t, nil)
	am := newAlertmanager(t, s.Handler(), "http_config: {}\nmax_alerts: 2\n")
	var alerts []*amalert.Alert
	for i := range 5 {
		alerts = append(alerts, amAlert(fmt.Sprintf("Canary%d", i)))
	}
	if retry, err := am.send(t, alerts...); retry || err != nil {
		t.Fatalf("a truncated payload is accepted: retry %t, %v", retry, err)
	}
	if got := in.batches(); len(got) != 1 || len(got[0]) != 2 {
		t.Errorf("the remaining alerts are passed on: got %v", got)
	}
}

// TestContractRetries: Alertmanager posts again only after 5xx.
func TestContractRetries(t *testing.T) {
	token := filepath.Join(t.TempDir(), "token")
	write(t, token, "a token of 16 bytes")
	for _, c := range []struct {
		name     string
		change   func(*handler.Options)
		settings string
		accept   func(context.Context) error
		retry    bool
		reason   notify.Reason
	}{
		{"503: could not be stored", nil, "", func(context.Context) error { return errors.New("etcd is down") }, true, notify.ServerErrorReason},
		{"500: a defect", nil, "", func(context.Context) error { panic("defect") }, true, notify.ServerErrorReason},
		{"400: a custom payload", nil, "http_config: {}\npayload: {text: '{{ .Status }}'}\n", nil, false, notify.ClientErrorReason},
		{"401: no token", withToken(token), "", nil, false, notify.AuthErrorReason},
		{"413: too large", func(o *handler.Options) { o.Config.MaxBody = 100 }, "", nil, false, notify.ClientErrorReason},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, in := newServer(t, c.change)
			in.accept = c.accept
			retry, err := newAlertmanager(t, s.Handler(), c.settings).send(t, amAlert("CanaryErrors"))
			var reason *notify.ErrorWithReason
			if retry != c.retry || !errors.As(err, &reason) || reason.Reason != c.reason {
				t.Errorf("Alertmanager posts it again: want %t and %s, got %t and %v", c.retry, c.reason, retry, err)
			}
			if n := len(in.batches()); (n == 1) != (c.accept != nil) {
				t.Errorf("a refused payload is not passed on: got %d batches", n)
			}
		})
	}
}

func TestContractTokenIsRotated(t *testing.T) {
	folder := t.TempDir()
	theirs, ours := filepath.Join(folder, "theirs"), filepath.Join(folder, "ours")
	write(t, theirs, "the-first-token-x\n")
	write(t, ours, "the-first-token-x")
	s, _ := newServer(t, withToken(ours))
	am := newAlertmanager(t, s.Handler(), "http_config:\n  authorization:\n    credentials_file: "+theirs+"\n")
	if retry, err := am.send(t, amAlert("CanaryErrors")); retry || err != nil {
		t.Errorf("Alertmanager presents its credentials_file in the form that backout accepts: %v", err)
	}
	replace(t, ours, "the-other-token-x")
	if _, err := am.send(t, amAlert("CanaryErrors")); err == nil {
		t.Error("the old token is refused once backout's file has changed")
	}
	replace(t, theirs, "the-other-token-x")
	if retry, err := am.send(t, amAlert("CanaryErrors")); retry || err != nil {
		t.Errorf("both sides change the token without a restart: %v", err)
	}
}
