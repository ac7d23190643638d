package notify

import (
	"bytes"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

func TestValidateReturnsEveryMistake(t *testing.T) {
	for _, c := range []struct {
		config Config
		want   []string
	}{
		{Config{}, nil},
		{Config{SlackTokenFile: "/t"}, []string{"BACKOUT_SLACK_TOKEN_FILE and BACKOUT_SLACK_CHANNEL"}},
		{Config{SlackChannel: "C1", WebhookSecretFile: "/s"}, []string{"BACKOUT_SLACK_CHANNEL", "BACKOUT_WEBHOOK_SECRET_FILE needs BACKOUT_WEBHOOK_URL"}},
		{Config{AlertmanagerURLs: []string{"am:9093", "http://am", "http://am"}}, []string{"address 1: want http", "address 3 occurs twice"}},
		{Config{AlertmanagerTokenFile: "/t"}, []string{"need BACKOUT_ALERTMANAGER_URLS"}},
		{Config{WebhookURL: "ftp://x", DashboardURL: "grafana", SlackAPIURL: "slack"}, []string{"BACKOUT_WEBHOOK_URL", "BACKOUT_DASHBOARD_URL", "BACKOUT_SLACK_API_URL"}},
	} {
		err := c.config.Validate()
		if (err != nil) != (len(c.want) > 0) {
			t.Errorf("%+v: got %v", c.config, err)
		}
		for _, want := range c.want {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("every mistake is returned: %q is missing in %v", want, err)
			}
		}
	}
}

func TestUnusableFilesAreFoundAtTheStart(t *testing.T) {
	for name, c := range map[string]Config{
		"BACKOUT_SLACK_WEBHOOK_FILE":      {SlackWebhookFile: file(t, "very-secret")},
		"BACKOUT_SLACK_TOKEN_FILE":        {SlackTokenFile: filepath.Join(t.TempDir(), "none"), SlackChannel: "C1"},
		"BACKOUT_WEBHOOK_SECRET_FILE":     {WebhookURL: "https://hook.example", WebhookSecretFile: file(t, " ")},
		"BACKOUT_ALERTMANAGER_CA_FILE":    {AlertmanagerURLs: []string{"https://am"}, AlertmanagerCAFile: file(t, "very-secret")},
		"BACKOUT_ALERTMANAGER_TOKEN_FILE": {AlertmanagerURLs: []string{"https://am"}, AlertmanagerTokenFile: filepath.Join(t.TempDir(), "none")},
	} {
		_, err := New(Options{Config: c, Ledger: &memoryLedger{}, Registerer: prometheus.NewRegistry()})
		if err == nil || !strings.HasPrefix(err.Error(), name) || strings.Contains(err.Error(), "very-secret") {
			t.Errorf("%s: got %v; want an error with its name and without its content", name, err)
		}
	}
}

func TestTheConfigurationIsLoggedWithoutSecrets(t *testing.T) {
	var b bytes.Buffer
	slog.New(slog.NewTextHandler(&b, nil)).Info("backout serves", "notify", Config{
		SlackWebhookFile: "/f", WebhookURL: "https://u:very-secret@h/very-secret", AlertmanagerURLs: []string{"https://u:very-secret@h"},
		DashboardURL: "https://g/?token=very-secret",
	})
	if strings.Contains(b.String(), "very-secret") || !strings.Contains(b.String(), "notify.alertmanagers=1") {
		t.Errorf("logged: %s", b.String())
	}
}

// TestEverySeriesExistsFromTheStart: an alert on a counter needs its zero.
func TestEverySeriesExistsFromTheStart(t *testing.T) {
	n := newTestNotifier(t, Config{SlackWebhookFile: file(t, hookURL), AlertmanagerURLs: []string{"http://a", "http://b"}}, &network{}, &memoryLedger{})
	families, err := n.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	series := make(map[string]int)
	for _, f := range families {
		series[f.GetName()] = len(f.GetMetric())
	}
	if series["backout_notifications_total"] != 9 || series["backout_notifications_queued"] != 3 {
		t.Errorf("%v; want 3 channels with 3 results each, and a queue each", series)
	}
}
