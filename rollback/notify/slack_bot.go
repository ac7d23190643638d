package notify

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"

	"github.com/slack-go/slack"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/report"
)

// slackBot keeps one message for each record, which it updates at each step, and posts
// the details into its thread.
type slackBot struct {
	file    string
	api     string
	channel string
	client  *http.Client
	// posted is the ID under which Slack knows the channel, if the configuration has its name; ""
	// before the first message.
	posted atomic.Pointer[string]
}

// owns reports whether a message ID leads to the configured channel. The ID comes from a
// record, and so from every client that may write ConfigMaps: it chooses no channel.
func (b *slackBot) owns(channel string) bool {
	posted := b.posted.Load()
	return channel == b.channel || posted != nil && channel == *posted
}

// deliver's message ID is "<channel>:<timestamp>".
func (b *slackBot) deliver(ctx context.Context, r *report.Report, entries []report.Entry, messageID string) (string, error) {
	token, err := secret(b.file)
	if err != nil {
		return messageID, err
	}
	api := slack.New(token, slack.OptionHTTPClient(b.client), slack.OptionAPIURL(b.api))
	message := slack.MsgOptionCompose(
		slack.MsgOptionText(fallback(r), false), slack.MsgOptionBlocks(blocks(r)...),
		slack.MsgOptionDisableLinkUnfurl(), slack.MsgOptionDisableMediaUnfurl(),
	)
	before := messageID
	messageID, err = b.post(ctx, api, message, before)
	switch {
	case err != nil:
		return messageID, slackError(err)
	case r.Record == "":
		return "", nil // a storm has no thread
	case messageID != before:
		return messageID, errMore
	}
	channel, ts, _ := strings.Cut(messageID, ":")
	details := make([]string, len(entries))
	for i, e := range entries {
		details[i] = e.At.UTC().Format("15:04:05") + " " + escape(rollback.Short(rollback.Printable(e.Text), report.MaxShown))
	}
	if len(details) == 0 {
		return messageID, nil
	}
	_, _, err = api.PostMessageContext(ctx, channel, slack.MsgOptionTS(ts),
		slack.MsgOptionText(rollback.Short(strings.Join(details, "\n"), maxText), false), slack.MsgOptionDisableMarkdown(),
		slack.MsgOptionDisableLinkUnfurl(), slack.MsgOptionDisableMediaUnfurl())
	return messageID, slackError(err)
}

// post updates the record's message, or posts it if it does not exist, and returns its
// ID.
func (b *slackBot) post(ctx context.Context, api *slack.Client, message slack.MsgOption, messageID string) (string, error) {
	if channel, ts, known := strings.Cut(messageID, ":"); known && b.owns(channel) {
		_, _, _, err := api.UpdateMessageContext(ctx, channel, ts, message)
		if !isGone(err) {
			return messageID, err
		}
	}
	channel, ts, err := api.PostMessageContext(ctx, b.channel, message)
	if err != nil {
		return "", err
	}
	b.posted.Store(&channel)
	return channel + ":" + ts, nil
}

// isGone reports whether Slack says that the message can no longer be updated: it was
// deleted, its channel is gone, or it belongs to another bot.
func isGone(err error) bool {
	answer, ok := errors.AsType[slack.SlackErrorResponse](err)
	if !ok {
		return false
	}
	switch answer.Err {
	case "message_not_found", "cant_update_message", "edit_window_closed", "channel_not_found", "is_archived":
		return true
	}
	return false
}

// slackError returns Slack's error with a hint, and without addresses.
func slackError(err error) error {
	if err == nil {
		return nil
	}
	if limited, ok := errors.AsType[*slack.RateLimitedError](err); ok {
		return errLater{min(max(limited.RetryAfter, leastWait), mostWait)}
	}
	if answer, ok := errors.AsType[slack.SlackErrorResponse](err); ok {
		return fmt.Errorf("%w: Slack says %s%s", errRefused, rollback.Short(rollback.Printable(answer.Err), maxReason), slackHint(answer.Err))
	}
	if code, ok := errors.AsType[slack.StatusCodeError](err); ok {
		if code.Code >= 400 && code.Code < 500 {
			return fmt.Errorf("%w: it answers %d; check BACKOUT_SLACK_API_URL", errRefused, code.Code)
		}
		return fmt.Errorf("it answers %d", code.Code)
	}
	return bare(err)
}

func slackHint(code string) string {
	switch code {
	case "invalid_auth", "not_authed", "token_revoked", "token_expired", "account_inactive":
		return ": check the token in BACKOUT_SLACK_TOKEN_FILE"
	case "not_in_channel":
		return ": invite the bot to the channel"
	case "channel_not_found", "is_archived":
		return ": check BACKOUT_SLACK_CHANNEL, and invite the bot if the channel is private"
	case "missing_scope":
		return ": give the bot the scope chat:write"
	}
	return ""
}
