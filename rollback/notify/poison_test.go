package notify

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/upcommerce/backout/rollback/report"
	"github.com/upcommerce/backout/rollback/report/reporttest"
)

// sent returns everything that the channels send about the report.
func sent(t *testing.T, rep *report.Report) map[string]string {
	t.Helper()
	encode := func(value any) string {
		var b strings.Builder
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		if err := e.Encode(value); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	all := map[string]string{
		"slack blocks": encode(blocks(rep)), "slack text": fallback(rep), "alertmanager": encode(postedAlerts(rep, reporttest.At(0), "")),
	}
	for _, e := range rep.Timeline {
		all["webhook"] += encode(newEvent(rep, e))
		all["events"] += note(rep, e) + "\n"
	}
	return all
}

// TestNoChannelSendsWhatMisleadsAReader has texts in every field of every record: safety
// rule 13. The zero-width space that breaks mentions and links is the channels' own.
func TestNoChannelSendsWhatMisleadsAReader(t *testing.T) {
	breaks := regexp.MustCompile(`(@|<|\])\x{200b}`)
	for name, r := range reporttest.Records() {
		for _, text := range reporttest.Poisons() {
			rep := report.Of(reporttest.Poison(r, text), settings())
			for channel, got := range sent(t, &rep) {
				if c := reporttest.Misleading(breaks.ReplaceAllString(got, "$1")); c != "" {
					t.Errorf("%s about %s: with %q everywhere it contains %q:\n%s", channel, name, text, c, got)
				}
			}
		}
	}
}

// TestNoTextMentionsOrLinks has the ways in which Slack, and services that resemble it,
// write mentions and links.
func TestNoTextMentionsOrLinks(t *testing.T) {
	live := []string{"<!channel>", "<!here|x>", "<@U012345>", "<#C012345>", "<https://evil.example|pay>", "@channel", "@EVERYONE", "[pay](https://evil.example)"}
	for name, r := range reporttest.Records() {
		for _, text := range live {
			r := reporttest.Poison(r, " "+text)
			r.Key = reporttest.Key()
			for i := range r.Signals {
				r.Signals[i].Link = strings.Trim(text, "<>")
			}
			rep := report.Of(r, settings())
			all := sent(t, &rep)
			for _, got := range []string{all["slack text"], markdown(t, &rep), mentions(all["alertmanager"])} {
				if strings.Contains(got, text) || strings.Contains(got, "<!") || strings.Contains(got, "<@") {
					t.Errorf("%s: %q is live where Slack reads markup:\n%s", name, text, got)
				}
			}
		}
	}
}

// markdown returns the texts of the blocks in which Slack reads markup.
func markdown(t *testing.T, rep *report.Report) string {
	t.Helper()
	encoded, err := json.Marshal(blocks(rep))
	var document any
	if err == nil {
		err = json.Unmarshal(encoded, &document)
	}
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	var walk func(any)
	walk = func(value any) {
		switch value := value.(type) {
		case []any:
			for _, v := range value {
				walk(v)
			}
		case map[string]any:
			if value["type"] == "mrkdwn" {
				fmt.Fprintln(&all, value["text"])
			}
			for _, v := range value {
				walk(v)
			}
		}
	}
	walk(document)
	return all.String()
}

// mentions returns the mentions of Slack in a text, and nothing else of it.
func mentions(text string) string {
	return strings.Join(regexp.MustCompile(`<[!@#]`).FindAllString(text, -1), " ")
}
