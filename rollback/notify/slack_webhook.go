package notify

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/slack-go/slack"

	"github.com/upcommerce/backout/rollback/report"
)

// slackWebhook posts one message for each outcome to one of Slack's incoming webhooks,
// or to a service that accepts the same. A posted message cannot be updated.
type slackWebhook struct {
	file   string
	client *http.Client
}

func (w *slackWebhook) deliver(ctx context.Context, r *report.Report, _ []report.Entry, messageID string) (string, error) {
	to, err := secretURL(w.file)
	if err != nil {
		return messageID, err
	}
	no := false
	body, err := json.Marshal(slack.WebhookMessage{
		Text: fallback(r), Blocks: &slack.Blocks{BlockSet: blocks(r)}, UnfurlLinks: &no, UnfurlMedia: &no,
	})
	if err != nil {
		return messageID, fmt.Errorf("encode a message: %w", err)
	}
	return messageID, post(ctx, w.client, to, body, http.Header{"Content-Type": {"application/json"}})
}
