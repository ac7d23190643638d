package notify

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/slack-go/slack"
)

// slackPace is Slack's own limit: one message a second in one channel.
const slackPace = time.Second

// open returns the configured channels. It reads each file with a secret once, so that
// an unusable file is found at the start.
func open(o Options) ([]*channel, error) {
	var all []*channel
	if o.Config.Events && o.Client != nil {
		events := &kubernetesEvents{client: o.Client, manifests: o.Manifests, instance: o.Instance}
		all = append(all, &channel{name: "events", selects: allEntries, perRelease: true, idempotent: true, deliver: events.deliver})
	}
	for _, add := range []func(Options) ([]*channel, error){openSlack, openWebhook, openAlertmanagers} {
		some, err := add(o)
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
	}
	return all, nil
}

func openSlack(o Options) ([]*channel, error) {
	c, client := o.Config, newClient(o.Transport)
	var all []*channel
	if c.SlackWebhookFile != "" {
		if _, err := secretURL(c.SlackWebhookFile); err != nil {
			return nil, fmt.Errorf("BACKOUT_SLACK_WEBHOOK_FILE: %w", err)
		}
		hook := &slackWebhook{file: c.SlackWebhookFile, client: client}
		all = append(all, &channel{name: "slack-webhook", selects: outcomes, pace: slackPace, deliver: hook.deliver})
	}
	if c.SlackTokenFile != "" {
		if _, err := secret(c.SlackTokenFile); err != nil {
			return nil, fmt.Errorf("BACKOUT_SLACK_TOKEN_FILE: %w", err)
		}
		bot := &slackBot{file: c.SlackTokenFile, api: strings.TrimRight(cmp.Or(c.SlackAPIURL, slack.APIURL), "/") + "/", channel: c.SlackChannel, client: client}
		all = append(all, &channel{name: "slack-bot", selects: allEntries, pace: 2 * slackPace, deliver: bot.deliver})
	}
	return all, nil
}

func openWebhook(o Options) ([]*channel, error) {
	c := o.Config
	if c.WebhookURL == "" {
		return nil, nil
	}
	if c.WebhookSecretFile != "" {
		if _, err := secret(c.WebhookSecretFile); err != nil {
			return nil, fmt.Errorf("BACKOUT_WEBHOOK_SECRET_FILE: %w", err)
		}
	}
	hook := &webhook{url: c.WebhookURL, secret: c.WebhookSecretFile, client: newClient(o.Transport)}
	return []*channel{{name: "webhook", selects: allEntries, deliver: hook.deliver}}, nil
}

func openAlertmanagers(o Options) ([]*channel, error) {
	if len(o.Config.AlertmanagerURLs) == 0 {
		return nil, nil
	}
	transport := o.Transport
	if transport == nil {
		var err error
		if transport, err = newAlertmanagerTransport(o.Config); err != nil {
			return nil, err
		}
	}
	var all []*channel
	for i, address := range o.Config.AlertmanagerURLs {
		am := &alertmanager{url: address, client: newClient(transport)}
		all = append(all, &channel{name: fmt.Sprintf("alertmanager-%d", i+1), selects: alertEntries, refreshes: alertsLast, deliver: am.deliver})
	}
	return all, nil
}
