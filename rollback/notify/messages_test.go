package notify

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/slack-go/slack"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/report"
	"github.com/upcommerce/backout/rollback/report/reporttest"
)

// TestMessages compares what Alertmanager and Slack get about every kind of record with
// the files in testdata/messages. UPDATE=1 rewrites them.
func TestMessages(t *testing.T) {
	for name, r := range reporttest.Records() {
		t.Run(name, func(t *testing.T) {
			rep := report.Of(r, settings())
			golden(t, name, printed(t, &rep))
		})
	}
}

// printed is what the channels with a form of their own make of a report.
func printed(t *testing.T, r *report.Report) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("-- alerts --\n")
	for _, a := range postedAlerts(r, reporttest.At(time.Hour), "") {
		fmt.Fprintf(&b, "%s %s..%s\n", a.Labels["alertname"], a.StartsAt.Format(time.TimeOnly), a.EndsAt.Format(time.TimeOnly))
	}
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", " ")
	if err := encoder.Encode(slack.Blocks{BlockSet: blocks(r)}); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(&b, "-- slack --\n%s", text.String())
	return b.String()
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", "messages", name+".txt")
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("the messages have changed; read them, then UPDATE=1 (-file +now):\n%s", diff)
	}
}

func readJSON(t *testing.T, path string, into any) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(text, into)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestAnAlertsTextIsNeverMarkup: an alert's text is shown and nothing more.
func TestAnAlertsTextIsNeverMarkup(t *testing.T) {
	rep := report.Of(reporttest.Records()["hostile"], settings())
	text := fallback(&rep)
	for _, live := range []string{"<!channel>", "<https://evil", "@here", "\u202e"} {
		if strings.Contains(text, live) {
			t.Errorf("the text for Slack still contains %q:\n%s", live, text)
		}
	}
	for _, b := range blocks(&rep) {
		encoded, err := json.Marshal(b)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(encoded), "rm -rf") && strings.Contains(string(encoded), `"mrkdwn"`) {
			t.Errorf("an alert's text is where Slack reads markup: %s", encoded)
		}
	}
	if got := linkable("https://evil.example/a|b>c<d"); strings.ContainsAny(got, "|<>") {
		t.Errorf("an address can end its own link: %s", got)
	}
}

// TestSlackAcceptsTheLongestReport: texts beyond Slack's limits are cut, not refused.
func TestSlackAcceptsTheLongestReport(t *testing.T) {
	long := strings.Repeat("<&>", 3000)
	r := reporttest.Record(reporttest.Hold(rollback.Managed, long), reporttest.Held, func(r *rollback.Record) {
		r.Namespace, r.Release = strings.Repeat("n", 63), strings.Repeat("r", 53)
		r.Decisions[0].Command = rollback.ReadCommand("flux suspend helmrelease " + strings.Repeat("f", 253) + " -n " + r.Namespace +
			" && " + r.HelmRollbackCommand(1234567890).String())
		for i := range 19 {
			s := r.Signals[0]
			s.Alert, s.Summary, s.Description, s.Fingerprint = long, long, long, fmt.Sprint(i)
			r.Signals = append(r.Signals, s)
		}
		for range 30 {
			r.Weights = append(r.Weights, rollback.Weight{Kind: long, Name: "web", From: "20", To: "0"})
		}
	})
	rep := report.Of(r, settings())
	server := fakeSlack()
	client := newClient(slackHosts(server))
	hook := &slackWebhook{file: file(t, hookURL), client: client}
	bot := &slackBot{file: file(t, botToken), api: "https://slack.example/api/", channel: "C1", client: client}
	for name, deliver := range map[string]deliverFunc{"webhook": hook.deliver, "bot": bot.deliver} {
		if _, err := deliver(t.Context(), &rep, rep.Timeline, ""); err != nil && !errors.Is(err, errMore) {
			t.Errorf("%s: %v, refused: %v", name, err, server.Refusals())
		}
	}
}

// TestAnyRecordCanBeSent: records are ConfigMaps, and users edit them. No content of one
// stops the process.
func TestAnyRecordCanBeSent(t *testing.T) {
	steps := []*rollback.Step{nil, {}, reporttest.Step(0, time.Second), reporttest.FailingStep(20, "x"), {Failed: true}}
	outcomes := []rollback.Outcome{"", rollback.OutcomeRecovered, rollback.OutcomeRestored, rollback.OutcomeNotRecovered, "nonsense"}
	holds := []*rollback.Hold{nil, {}, {Since: reporttest.Opened(), Ended: reporttest.At(time.Hour)}}
	decisions := []rollback.Decision{{}, reporttest.Act(), {Verdict: "nonsense", Hold: true, NeedsHelp: true}, {Verdict: rollback.Unconfirmed}}
	count := 0
	for i := range len(steps) * len(steps) * len(steps) * len(steps) {
		for j, d := range decisions {
			r := reporttest.Record(d)
			n := i
			for _, s := range []**rollback.Step{&r.Shed, &r.Rollback, &r.Restore, &r.Verify} {
				*s = steps[n%len(steps)]
				n /= len(steps)
			}
			r.Outcome, r.Hold = outcomes[(i+j)%len(outcomes)], holds[(i+j)%len(holds)]
			if i%2 == 0 {
				r.Signals, r.Weights = nil, []rollback.Weight{{}}
			}
			if i%3 == 0 {
				r.Decisions = nil
			}
			rep := report.Of(r, settings())
			_, _, _ = blocks(&rep), fallback(&rep), postedAlerts(&rep, reporttest.At(time.Hour), "")
			count++
		}
	}
	if count < 2000 {
		t.Errorf("%d records were tried", count)
	}
}
