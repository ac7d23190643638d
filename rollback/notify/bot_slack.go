package notify

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/slack-go/slack"
)

// slackBot keeps one message per record, which it changes at each step, and puts
// the details into its thread.
type slackBot struct {
	file    string
	api     string
	channel string
	client  *http.Client
}

func (b *slackBot) deliver(ctx context.Context, r *Report, news []Line, place string) (string, error) {
	token, err := secret(b.file)
	if err != nil {
		return place, err
	}
	api := slack.New(token, slack.OptionHTTPClient(b.client), slack.OptionAPIURL(b.api))
	message := slack.MsgOptionCompose(
		slack.MsgOptionText(r.fallback(), false), slack.MsgOptionBlocks(r.blocks()...),
		slack.MsgOptionDisableLinkUnfurl(), slack.MsgOptionDisableMediaUnfurl(),
	)
	before := place
	place, err = b.parent(ctx, api, message, before)
	switch {
	case err != nil:
		return place, slackError(err)
	case r.Record == "":
		return "", nil // a storm has no thread
	case place != before:
		return place, errMore
	}
	channel, ts, _ := strings.Cut(place, ":")
	details := make([]string, len(news))
	for i, l := range news {
		details[i] = l.At.UTC().Format("15:04:05") + " " + escape(short(printable(l.Text), maxShown))
	}
	if len(details) == 0 {
		return place, nil
	}
	_, _, err = api.PostMessageContext(ctx, channel, slack.MsgOptionTS(ts),
		slack.MsgOptionText(short(strings.Join(details, "\n"), maxText), false), slack.MsgOptionDisableMarkdown(),
		slack.MsgOptionDisableLinkUnfurl(), slack.MsgOptionDisableMediaUnfurl())
	return place, slackError(err)
}

// parent changes the record's message, or posts it if there is none any more, and
// returns where it is.
func (b *slackBot) parent(ctx context.Context, api *slack.Client, message slack.MsgOption, place string) (string, error) {
	if channel, ts, known := strings.Cut(place, ":"); known {
		_, _, _, err := api.UpdateMessageContext(ctx, channel, ts, message)
		if !isGone(err) {
			return place, err
		}
	}
	channel, ts, err := api.PostMessageContext(ctx, b.channel, message)
	if err != nil {
		return "", err
	}
	return channel + ":" + ts, nil
}

// isGone reports whether Slack says that the message cannot be changed any more:
// it was deleted, its channel is gone, or it is not this bot's.
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

// slackError tells Slack's error with a hint, and without addresses.
func slackError(err error) error {
	if err == nil {
		return nil
	}
	if limited, ok := errors.AsType[*slack.RateLimitedError](err); ok {
		return errLater{min(max(limited.RetryAfter, leastWait), mostWait)}
	}
	if answer, ok := errors.AsType[slack.SlackErrorResponse](err); ok {
		return fmt.Errorf("%w: Slack says %s%s", errRefused, short(printable(answer.Err), maxReason), slackHint(answer.Err))
	}
	if code, ok := errors.AsType[slack.StatusCodeError](err); ok {
		if code.Code >= 400 && code.Code < 500 {
			return fmt.Errorf("%w: it answers %d; look at BACKOUT_SLACK_API_URL", errRefused, code.Code)
		}
		return fmt.Errorf("it answers %d", code.Code)
	}
	return bare(err)
}

func slackHint(code string) string {
	switch code {
	case "invalid_auth", "not_authed", "token_revoked", "token_expired", "account_inactive":
		return ": look at the token in BACKOUT_SLACK_TOKEN_FILE"
	case "not_in_channel":
		return ": invite the bot to the channel"
	case "channel_not_found", "is_archived":
		return ": look at BACKOUT_SLACK_CHANNEL, and invite the bot if it is private"
	case "missing_scope":
		return ": give the bot the scope chat:write"
	}
	return ""
}
