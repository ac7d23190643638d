package notify

import (
	"fmt"
	"strings"

	"github.com/slack-go/slack"
)

// maxText is a little less than what Slack takes in a message, in runes.
const maxText = 39_000

// escape makes a text mean nothing to Slack: neither mentions nor links nor
// markup. Endpoints that only resemble Slack know mentions without brackets, too.
func escape(s string) string {
	s = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(s)
	for _, crowd := range []string{"channel", "here", "everyone", "all", "group"} {
		s = replaceFold(s, "@"+crowd, "@\u200b"+crowd)
	}
	return s
}

// replaceFold is strings.ReplaceAll for ASCII of either case; the text's own case
// is not kept.
func replaceFold(s, from, to string) string {
	for i := 0; i+len(from) <= len(s); i++ {
		if strings.EqualFold(s[i:i+len(from)], from) {
			s = s[:i] + to + s[i+len(from):]
			i += len(to) - 1
		}
	}
	return s
}

// fallback is the text for notifications, screen readers, and endpoints that know
// no blocks.
func (r *Report) fallback() string { return short(escape(r.Text()), maxText) }

// blocks returns the report in Slack's Block Kit. Whatever is not ours stands in
// plain text, which Slack does not read as markup.
func (r *Report) blocks() []slack.Block {
	blocks := []slack.Block{slack.NewHeaderBlock(plainText(r.mark() + short(r.Title, maxTitle-len(r.mark()))))}
	section := func(text string) {
		if text != "" {
			blocks = append(blocks, slack.NewSectionBlock(plainText(short(text, maxSection)), nil, nil))
		}
	}
	section(labelled("Seen", r.seenLines()))
	section(labelled("Done", r.doneLines()))
	if text := r.latest(); text != "" {
		section("Now: " + text)
	}
	if len(r.Releases) > 0 {
		section(labelled("Releases", []string{short(strings.Join(r.Releases, ", "), maxShown)}))
	}
	section("Why: " + r.why())
	for _, c := range r.Next {
		blocks = append(blocks, slack.NewSectionBlock(code(c), nil, nil))
	}
	var small []slack.MixedElement
	for _, l := range r.links() {
		small = append(small, slack.NewTextBlockObject(slack.MarkdownType, fmt.Sprintf("<%s|%s>", linkable(l.url), l.name), false, false))
	}
	if r.Record != "" {
		small = append(small, plainText("ConfigMap "+r.Record+" in "+r.Namespace))
	}
	if r.Cluster != "" {
		small = append(small, plainText("cluster "+r.Cluster))
	}
	if len(small) > 0 {
		blocks = append(blocks, slack.NewContextBlock("", small...))
	}
	return blocks
}

func labelled(label string, lines []string) string {
	switch len(lines) {
	case 0:
		return ""
	case 1:
		return label + ": " + lines[0]
	default:
		return label + ":\n" + strings.Join(lines, "\n")
	}
}

// plainText never has Slack look for markup or emoji in it.
func plainText(text string) *slack.TextBlockObject {
	return slack.NewTextBlockObject(slack.PlainTextType, text, false, false)
}

// code shows a command so that it can be copied. A backtick would end the block;
// no command of ours needs one.
func code(c Command) *slack.TextBlockObject {
	line := short(strings.ReplaceAll(c.Line, "`", "'"), maxCommand)
	return slack.NewTextBlockObject(slack.MarkdownType, escape(c.Why)+":\n```"+escape(line)+"```", false, false)
}

// linkable keeps an address from ending its own link.
func linkable(url string) string {
	return strings.NewReplacer("<", "%3C", ">", "%3E", "|", "%7C", "&", "&amp;", " ", "%20").Replace(url)
}
