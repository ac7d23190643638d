package notify

import (
	"fmt"
	"strings"

	"github.com/slack-go/slack"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/report"
)

// maxText is a little less than Slack's limit for a message, in runes.
const maxText = 39_000

// escape returns s without meaning to Slack: no mentions, no links, no markup. Services
// that only resemble Slack have mentions without brackets, and the links of Markdown.
func escape(s string) string {
	s = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", "](", "]\u200b(").Replace(s)
	for _, group := range []string{"channel", "here", "everyone", "all", "group"} {
		s = replaceFold(s, "@"+group, "@\u200b"+group)
	}
	return s
}

// replaceFold is strings.ReplaceAll for ASCII of either case; it does not keep the case
// of the text.
func replaceFold(s, from, to string) string {
	for i := 0; i+len(from) <= len(s); i++ {
		if strings.EqualFold(s[i:i+len(from)], from) {
			s = s[:i] + to + s[i+len(from):]
			i += len(to) - 1
		}
	}
	return s
}

// fallback returns the text for notifications, screen readers, and services without
// blocks.
func fallback(r *report.Report) string { return rollback.Short(escape(r.Text()), maxText) }

// blocks returns the report in Slack's Block Kit. Texts of other systems are plain text,
// which Slack does not read as markup.
func blocks(r *report.Report) []slack.Block {
	all := []slack.Block{slack.NewHeaderBlock(plainText(r.Mark() + rollback.Short(r.Title, report.MaxTitle-len(r.Mark()))))}
	section := func(text string) {
		if text != "" {
			all = append(all, slack.NewSectionBlock(plainText(rollback.Short(text, report.MaxSection)), nil, nil))
		}
	}
	alerts := r.AlertLines()
	section(labelled(plural("Alert", len(alerts)), alerts))
	section(labelled("Done", r.StepLines()))
	if text := r.Latest(); text != "" {
		section("Now: " + text)
	}
	if len(r.Releases) > 0 {
		section(labelled("Releases", []string{rollback.Short(strings.Join(r.Releases, ", "), report.MaxShown)}))
	}
	section("Why: " + r.Why())
	for _, c := range r.Commands {
		all = append(all, slack.NewSectionBlock(code(c), nil, nil))
	}
	var small []slack.MixedElement
	for _, l := range r.Links() {
		small = append(small, slack.NewTextBlockObject(slack.MarkdownType, fmt.Sprintf("<%s|%s>", linkable(l.URL), l.Name), false, false))
	}
	if r.Record != "" {
		small = append(small, plainText("ConfigMap "+r.Record+" in "+r.Namespace))
	}
	if r.Cluster != "" {
		small = append(small, plainText("cluster "+r.Cluster))
	}
	if len(small) > 0 {
		all = append(all, slack.NewContextBlock("", small...))
	}
	return all
}

func plural(noun string, count int) string {
	if count == 1 {
		return noun
	}
	return noun + "s"
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

// plainText returns a text in which Slack looks for neither markup nor emoji.
func plainText(text string) *slack.TextBlockObject {
	return slack.NewTextBlockObject(slack.PlainTextType, text, false, false)
}

// code returns a command in a form that readers can copy. No command contains a backtick,
// which would end the block, or is longer than a block.
func code(c report.Command) *slack.TextBlockObject {
	why := strings.ReplaceAll(capitalized(c.Why), "`", "'")
	return slack.NewTextBlockObject(slack.MarkdownType, escape(why)+":\n```"+escape(c.Line.String())+"```", false, false)
}

// capitalized returns s, which begins with an ASCII letter, with a capital letter.
func capitalized(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

// linkable returns an address that cannot end its own link.
func linkable(url string) string {
	return strings.NewReplacer("<", "%3C", ">", "%3E", "|", "%7C", "&", "&amp;", " ", "%20").Replace(url)
}
