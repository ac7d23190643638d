package notify

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/slack-go/slack"
)

// slackWebhook posts one message per outcome to an incoming webhook of Slack's, or
// of anything that takes the same. A message there cannot be changed later.
type slackWebhook struct {
	file   string
	client *http.Client
}

func (w *slackWebhook) deliver(ctx context.Context, r *Report, _ []Line, place string) (string, error) {
	to, err := secretURL(w.file)
	if err != nil {
		return place, err
	}
	no := false
	body, err := json.Marshal(slack.WebhookMessage{
		Text: r.fallback(), Blocks: &slack.Blocks{BlockSet: r.blocks()}, UnfurlLinks: &no, UnfurlMedia: &no,
	})
	if err != nil {
		return place, fmt.Errorf("encode a message: %w", err)
	}
	return place, post(ctx, w.client, to, body, http.Header{"Content-Type": {"application/json"}})
}
