package notify

import (
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
)

// Config configures the channels. go-envconfig reads its tags under the prefix BACKOUT_.
type Config struct {
	SlackWebhookFile      string   `env:"SLACK_WEBHOOK_FILE" desc:"File with the address of a Slack incoming webhook, or of a service that accepts the same payload: one message for each outcome. Read again for each message."`
	SlackTokenFile        string   `env:"SLACK_TOKEN_FILE" desc:"File with a Slack bot token (scope chat:write): one message for each record, updated at each step, with the details in its thread. Read again for each message."`
	SlackChannel          string   `env:"SLACK_CHANNEL" desc:"ID of the channel that the bot posts to."`
	SlackAPIURL           string   `env:"SLACK_API_URL, default=https://slack.com/api/" desc:"Address of the Slack API."`
	AlertmanagerURLs      []string `env:"ALERTMANAGER_URLS" desc:"Alertmanagers that receive the alerts BackoutRolledBack and BackoutNeedsHelp, separated by commas, such as http://alertmanager-0:9093; list every member of a cluster."`
	AlertmanagerTokenFile string   `env:"ALERTMANAGER_TOKEN_FILE" desc:"File with a bearer token for all of them. Re-read when it changes."`
	AlertmanagerCAFile    string   `env:"ALERTMANAGER_CA_FILE" desc:"File with the CAs of their certificates (PEM), in place of those of the system. Re-read when it changes."`
	WebhookURL            string   `env:"WEBHOOK_URL" desc:"Address that receives a CloudEvent for everything that happens (docs/webhook.md)."`
	WebhookSecretFile     string   `env:"WEBHOOK_SECRET_FILE" desc:"File with the secret that signs these events. Read again for each event."`
	Events                bool     `env:"EVENTS, default=true" desc:"Write Kubernetes Events about the release's workloads; requires the right to create events.events.k8s.io."`
	DashboardURL          string   `env:"DASHBOARD_URL" desc:"Grafana dashboard that messages link to; backout adds from, to, var-namespace and var-release."`
}

// Validate returns every mistake, each with the name of its variable and without its
// value, which may contain a secret.
func (c Config) Validate() error {
	var errs []error
	if (c.SlackTokenFile == "") != (c.SlackChannel == "") {
		errs = append(errs, errors.New("BACKOUT_SLACK_TOKEN_FILE and BACKOUT_SLACK_CHANNEL go together: set both or neither"))
	}
	for i, text := range c.AlertmanagerURLs {
		if err := validURL(text); err != nil {
			errs = append(errs, fmt.Errorf("BACKOUT_ALERTMANAGER_URLS: address %d: %w", i+1, err))
		}
		if slices.Contains(c.AlertmanagerURLs[:i], text) {
			errs = append(errs, fmt.Errorf("BACKOUT_ALERTMANAGER_URLS: address %d occurs twice: remove one", i+1))
		}
	}
	if len(c.AlertmanagerURLs) == 0 && (c.AlertmanagerTokenFile != "" || c.AlertmanagerCAFile != "") {
		errs = append(errs, errors.New("BACKOUT_ALERTMANAGER_TOKEN_FILE and BACKOUT_ALERTMANAGER_CA_FILE need BACKOUT_ALERTMANAGER_URLS: no alert is posted without it"))
	}
	if c.WebhookURL == "" && c.WebhookSecretFile != "" {
		errs = append(errs, errors.New("BACKOUT_WEBHOOK_SECRET_FILE needs BACKOUT_WEBHOOK_URL: no event is posted without it"))
	}
	for _, a := range []struct{ name, address string }{
		{"WEBHOOK_URL", c.WebhookURL}, {"DASHBOARD_URL", c.DashboardURL}, {"SLACK_API_URL", c.SlackAPIURL},
	} {
		if err := validURL(a.address); a.address != "" && err != nil {
			errs = append(errs, fmt.Errorf("BACKOUT_%s: %w", a.name, err))
		}
	}
	return errors.Join(errs...)
}

// validURL returns an error that does not quote the address: it may contain a secret.
func validURL(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return errors.New("want http://host/path or https://host/path")
	}
	return nil
}

// LogValue shows which channels are configured, without addresses and the content of
// files.
func (c Config) LogValue() slog.Value {
	return slog.GroupValue(
		slog.Bool("slack_webhook", c.SlackWebhookFile != ""), slog.Bool("slack_bot", c.SlackTokenFile != ""),
		slog.Int("alertmanagers", len(c.AlertmanagerURLs)), slog.Bool("webhook", c.WebhookURL != ""),
		slog.Bool("signed", c.WebhookSecretFile != ""), slog.Bool("events", c.Events),
		slog.Bool("dashboard", c.DashboardURL != ""),
	)
}
