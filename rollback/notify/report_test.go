package notify

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/slack-go/slack"

	"github.com/upcommerce/backout/rollback"
)

// noon is when every story of these tests begins.
func noon() time.Time { return time.Date(2026, time.March, 4, 3, 0, 0, 0, time.UTC) }

func after(d time.Duration) time.Time { return noon().Add(d) }

// hostile is what a stranger may write into an alert.
const hostile = "<!channel> `rm -rf /` $(reboot) <https://evil.example|pay> *50%* @here & \"it\"\u202e\nnext"

// accused is a record with one alert and one decision.
func accused(d rollback.Decision, change ...func(*rollback.Record)) rollback.Record {
	d.At = after(20 * time.Millisecond)
	r := rollback.Record{
		Key: rollback.Key{Namespace: "shop", Release: "web"}, Revision: 7, UID: "uid-7", Content: "c7", Opened: noon(),
		Accusations: []rollback.Accusation{{
			Alert: "CanaryErrorRatio", Level: rollback.LevelRollback, Fingerprint: "e1",
			Summary:     "Canary v3 of shop/web fails 50% of its requests",
			Description: "In the last minute the canary failed 50% of 600 requests, the stable track 0.1% (z 18.2).",
			Link:        "https://prometheus.example/graph?g0.expr=ratio&g0.tab=1",
			StartsAt:    after(-30 * time.Second), Received: noon(), LastSeen: noon(),
		}},
		Decisions: []rollback.Decision{d},
	}
	for _, c := range change {
		c(&r)
	}
	return r
}

func step(from, to time.Duration) *rollback.Step {
	return &rollback.Step{Started: after(from), Done: after(to), Attempts: 1}
}

func failing(attempts int, text string) *rollback.Step {
	return &rollback.Step{Started: after(50 * time.Millisecond), Attempts: attempts, Error: text}
}

func acting() rollback.Decision {
	return rollback.Decision{
		Verdict: rollback.Act, Shed: true, Rollback: true, Target: 5,
		Reason: "revision 7 is accused; revision 5 is the newest good one with other content",
	}
}

func holds(v rollback.Verdict, reason string) rollback.Decision {
	return rollback.Decision{Verdict: v, Shed: true, Hold: true, People: true, Reason: reason, Do: "helm rollback web 5 -n shop"}
}

func shed(r *rollback.Record) {
	r.Shed = step(30*time.Millisecond, 300*time.Millisecond)
	r.Weights = []rollback.Weight{{Kind: "Ingress", Name: "web-canary", From: "20", To: "0"}}
}

func onHold(r *rollback.Record) {
	shed(r)
	r.Hold = &rollback.Hold{Since: after(400 * time.Millisecond)}
}

func rolledBack(r *rollback.Record) {
	shed(r)
	r.Rollback, r.Target, r.Made = step(400*time.Millisecond, 1600*time.Millisecond), 5, 8
}

func raised(r *rollback.Record) {
	rolledBack(r)
	r.Raise = step(1700*time.Millisecond, 4*time.Second)
}

func judgedAs(o rollback.Outcome, note string) func(*rollback.Record) {
	return func(r *rollback.Record) {
		raised(r)
		r.Verify, r.Outcome = step(4*time.Second, 130*time.Second), o
		r.Verify.Note = note
		r.Closed = after(130 * time.Second)
	}
}

func over(at time.Duration) func(*rollback.Record) {
	return func(r *rollback.Record) { r.Closed = after(at) }
}

// cases has a record for every verdict, outcome, state and word.
func cases() map[string]rollback.Record {
	waits := func(v rollback.Verdict, reason string) rollback.Decision {
		return rollback.Decision{Verdict: v, Shed: true, Waits: true, Reason: reason}
	}
	only := func(v rollback.Verdict, reason string) rollback.Decision {
		return rollback.Decision{Verdict: v, Reason: reason}
	}
	return map[string]rollback.Record{
		"act_shed":          accused(acting(), shed),
		"act_rolled_back":   accused(acting(), rolledBack),
		"act_raised":        accused(acting(), raised),
		"act_recovered":     accused(acting(), judgedAs(rollback.Recovered, "the alert is quiet, and the canary gets 10.0 requests a second")),
		"act_restored":      accused(acting(), judgedAs(rollback.Restored, "the alert is quiet, but the canary gets too little traffic for that to prove anything")),
		"act_not_recovered": accused(acting(), judgedAs(rollback.NotRecovered, "the alert still fires 10m0s after the rollback")),
		"act_unjudged":      accused(acting(), judgedAs("", "the release has moved on before it could be judged")),
		"act_pods_late": accused(acting(), rolledBack, func(r *rollback.Record) {
			r.Raise, r.Outcome = &rollback.Step{Started: after(2 * time.Second), Error: "waiting for the canary's pod"}, rollback.NotRecovered
		}),
		"act_failed": accused(acting(), shed, func(r *rollback.Record) {
			r.Rollback, r.Target, r.Closed = failing(20, "the API server is away"), 5, after(time.Minute)
			r.Rollback.Failed = true
		}),
		"act_raise_failed": accused(acting(), rolledBack, func(r *rollback.Record) {
			r.Raise, r.Closed = failing(1, "the release is at revision 9 by now"), after(time.Minute)
			r.Raise.Failed = true
		}),
		"act_shed_fails": accused(acting(), func(r *rollback.Record) { r.Shed = failing(5, "failed calling webhook \"x\"") }),
		"act_held": accused(rollback.Decision{
			Verdict: rollback.Act, Shed: true, Hold: true, Do: "backout release shop/web", Reason: "the alert asks for the canary to be taken out of the traffic",
		}, onHold),
		"act_no_route": accused(acting(), func(r *rollback.Record) {
			raised(r)
			r.Weights, r.Shed.Note = nil, "the release has no canary route of a known kind"
		}),
		"by_hand": accused(rollback.Decision{Verdict: rollback.Act, Shed: true, Hold: true, Do: "backout release shop/web", Reason: "ann asks for the canary to be taken out of the traffic"}, onHold, func(r *rollback.Record) {
			r.Accusations[0] = rollback.Accusation{Alert: "hold", By: "ann", Level: rollback.LevelShed, Fingerprint: "by-hand", Summary: "looks odd", StartsAt: noon(), Received: noon()}
		}),
		"act_held_applied": accused(rollback.Decision{
			Verdict: rollback.Act, Reason: "revision 7 is accused", Shed: true, Hold: true, Do: "backout release shop/web",
		}, onHold, func(r *rollback.Record) { r.Weights[0].Applier = "helm" }),
		"held_over": accused(holds(rollback.Baked, "revision 7 has been running for more than 24h0m0s"), onHold, over(time.Hour), func(r *rollback.Record) {
			r.Hold.Ended, r.Hold.Lifted, r.Hold.Why = after(time.Hour), true, "somebody gave the canary a weight of 5 on Ingress/web-canary"
		}),
		"busy":       accused(waits(rollback.Busy, "revision 7 is pending-upgrade"), shed),
		"busy_stuck": accused(rollback.Decision{Verdict: rollback.Busy, Shed: true, Waits: true, People: true, Do: "helm rollback web 5 -n shop", Reason: "revision 7 is pending-upgrade for more than 1h0m0s: it looks stuck"}, shed),
		"busy_over": accused(waits(rollback.Busy, "revision 7 is pending-upgrade"), over(time.Minute), func(r *rollback.Record) {
			r.Decisions = append(r.Decisions, rollback.Decision{Verdict: rollback.Stale, Reason: "the release has moved on to another revision", At: after(time.Minute)})
		}),
		"unknown":      accused(rollback.Decision{Verdict: rollback.Unknown, Shed: true, Waits: true, Reason: "Prometheus could not be asked about the alert: it does not answer in time"}, shed),
		"unknown_held": accused(holds(rollback.Unknown, "Prometheus could not be asked about the alert; for 2m0s"), onHold),
		"cooldown":     accused(holds(rollback.Cooldown, "the release was rolled back at 2026-03-04T02:55:00Z, less than 10m0s ago"), onHold),
		"baked":        accused(holds(rollback.Baked, "revision 7 has been running for more than 24h0m0s"), onHold),
		"baked_no_route": accused(holds(rollback.Baked, "revision 7 has been running for more than 24h0m0s"), over(time.Second), func(r *rollback.Record) {
			r.Shed = step(30*time.Millisecond, 300*time.Millisecond)
			r.Shed.Note = "the release has no canary route of a known kind"
		}),
		"own": accused(holds(rollback.Own, "revision 7 is backout's own rollback of revision 6"), onHold),
		"managed": accused(rollback.Decision{
			Verdict: rollback.Managed, Shed: true, Hold: true, People: true, Reason: "Flux (HelmRelease flux-system/web) owns the release and would undo a rollback",
			Do: "flux suspend helmrelease web -n flux-system && helm rollback web 5 -n shop",
		}, onHold),
		"managed_weights": accused(rollback.Decision{
			Verdict: rollback.Managed, People: true, Reason: "Argo Rollouts (Rollout shop/web) sets the canary's weight itself; it is left alone",
			Do: "kubectl argo rollouts abort web -n shop",
		}, over(time.Second)),
		"no_target": accused(holds(rollback.NoTarget, "no older revision was good and has other content"), onHold),
		"unsafe":    accused(holds(rollback.Unsafe, "going back to revision 5 is not safe: PersistentVolumeClaim data would be deleted"), onHold),
		"storm":     accused(rollback.Decision{Verdict: rollback.Storming, Waits: true, People: true, Do: "helm rollback web 5 -n shop", Reason: "5 other releases were accused within 10m0s: it is not the canaries"}),
		"no_stable": accused(rollback.Decision{Verdict: rollback.NoStable, Rollback: true, Target: 5, Reason: "Service web has no ready endpoint; the weight is left as it is"}, func(r *rollback.Record) { raised(r); r.Shed, r.Weights = nil, nil }),
		"no_stable_shed": accused(rollback.Decision{
			Verdict: rollback.NoStable, Waits: true, People: true, Do: "helm rollback web 5 -n shop", Reason: "Service web has no ready endpoint; the weight is left as it is",
		}),
		"settling":    accused(rollback.Decision{Verdict: rollback.Settling, Waits: true, Again: after(7 * time.Minute), Reason: "the alert began before revision 7 was deployed"}),
		"stale":       accused(only(rollback.Stale, "the alert is about revision 6, the release is at 7"), over(0)),
		"unconfirmed": accused(only(rollback.Unconfirmed, "Prometheus says that the alert did not fire at 2026-03-04T03:00:00Z"), over(0)),
		"unconfirmed_after_shed": accused(acting(), over(2*time.Second), func(r *rollback.Record) {
			r.Decisions = append(r.Decisions, rollback.Decision{Verdict: rollback.Unconfirmed, Reason: "Prometheus says that the alert did not fire", At: after(time.Second)})
			r.Hold = &rollback.Hold{Since: after(300 * time.Millisecond), Ended: after(2 * time.Second), Why: "Prometheus denies the alert; Ingress/web-canary 0 -> 20"}
		}),
		"handled": accused(only(rollback.Handled, "this alert was already acted upon at revision 6"), over(0)),
		"paused":  accused(only(rollback.Paused, "release shop/web is paused: 2026-03-04T01:00:00Z by ann: migration"), over(0)),
		"observe": accused(only(rollback.Observe, "mode observe; it would have been act: revision 7 is accused; revision 5 is the newest good one with other content"), over(0)),
		"not_allowed": accused(holds(rollback.Own, "revision 7 is backout's own rollback of revision 6"), onHold, over(time.Hour), func(r *rollback.Record) {
			r.Decisions = append(r.Decisions, rollback.Decision{Verdict: rollback.NotAllowed, Reason: "the release is no longer opted in by BACKOUT_RELEASES", At: after(time.Hour)})
			r.Hold.Ended, r.Hold.Why = after(time.Hour), "the release is no longer opted in"
		}),
		"unknown_release": accused(only(rollback.UnknownRelease, "the release is uninstalled"), over(0)),
		"hostile": accused(acting(), rolledBack, func(r *rollback.Record) {
			a := &r.Accusations[0]
			a.Alert, a.Summary, a.Description, a.Link = hostile, hostile, hostile, "https://evil.example/a|b>c<d"
		}),
		"many_alerts": accused(acting(), rolledBack, func(r *rollback.Record) {
			for i := range 7 {
				a := r.Accusations[0]
				a.Fingerprint, a.Alert, a.Received, a.Resolved = fmt.Sprint("m", i), fmt.Sprint("Another", i), after(time.Duration(i)*time.Second), after(time.Minute)
				r.Accusations = append(r.Accusations, a)
			}
		}),
	}
}

func setting() Setting {
	return Setting{Cluster: "blue", Dashboard: "https://grafana.example/d/backout?orgId=1"}
}

// TestReports shows what people read for every verdict and outcome. UPDATE=1
// rewrites the files.
func TestReports(t *testing.T) {
	for name, r := range cases() {
		t.Run(name, func(t *testing.T) {
			report := Of(r, setting())
			if again := Of(r, setting()); !cmp.Equal(report, again) {
				t.Error("the same record always gives the same report")
			}
			golden(t, name, shown(t, &report))
		})
	}
}

// shown is everything that the channels make of a report.
func shown(t *testing.T, r *Report) string {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "-- state --\n%s help=%t over=%t\n", r.State, r.Help, r.Over)
	fmt.Fprintf(&b, "-- text --\n%s\n-- story --\n", r.Text())
	for _, l := range r.Story {
		fmt.Fprintf(&b, "%s outcome=%t %s: %s\n", l.Key, l.Outcome, l.Word.reason(), printable(l.Text))
	}
	b.WriteString("-- alerts --\n")
	for _, a := range r.posted(after(time.Hour), "") {
		fmt.Fprintf(&b, "%s %s..%s\n", a.Labels["alertname"], a.StartsAt.Format(time.TimeOnly), a.EndsAt.Format(time.TimeOnly))
	}
	var blocks bytes.Buffer
	encoder := json.NewEncoder(&blocks)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", " ")
	if err := encoder.Encode(slack.Blocks{BlockSet: r.blocks()}); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(&b, "-- slack --\n%s", blocks.String())
	return b.String()
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", "reports", name+".txt")
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
		t.Errorf("what people read has changed; look at it, then UPDATE=1 (-file +now):\n%s", diff)
	}
}

// TestEverythingHasACase: a new verdict, outcome, state or word begins with what
// people read about it.
func TestEverythingHasACase(t *testing.T) {
	seen := make(map[string]bool)
	for _, r := range cases() {
		report := Of(r, setting())
		seen["verdict "+string(report.Verdict)], seen["state "+string(report.State)] = true, true
		seen["outcome "+string(r.Outcome)] = true
		for _, l := range report.Story {
			seen["word "+string(l.Word)] = true
		}
		if report.Meaning == "" || report.Title == "" {
			t.Errorf("%s: every verdict is told in words: %+v", report.Verdict, report)
		}
	}
	var want []string
	for _, v := range rollback.Verdicts() {
		want = append(want, "verdict "+string(v))
	}
	for _, s := range States() {
		want = append(want, "state "+string(s))
	}
	for _, w := range Words() {
		want = append(want, "word "+string(w))
	}
	for _, o := range []rollback.Outcome{rollback.Recovered, rollback.Restored, rollback.NotRecovered} {
		want = append(want, "outcome "+string(o))
	}
	for _, w := range want {
		if !seen[w] {
			t.Errorf("no case has %s", w)
		}
	}
}

// TestWhoeverMustLookIsToldWhatToRun: safety rule 9.
func TestWhoeverMustLookIsToldWhatToRun(t *testing.T) {
	for name, r := range cases() {
		report := Of(r, setting())
		if report.Help && len(report.Next) == 0 {
			t.Errorf("%s: whoever is called is told a command", name)
		}
		if report.Help && len(report.Outcomes()) == 0 {
			t.Errorf("%s: nobody would be called: no line is an outcome", name)
		}
		for _, l := range report.Story {
			if l.At.IsZero() || l.Key == "" {
				t.Errorf("%s: a line has a time and a key: %+v", name, l)
			}
		}
	}
}

// TestNoWordOfAnAlertIsACommandOrMarkup: an alert's text is shown and nothing more.
func TestNoWordOfAnAlertIsACommandOrMarkup(t *testing.T) {
	report := Of(cases()["hostile"], setting())
	for _, c := range report.Next {
		if strings.Contains(c.Line, "rm -rf") || strings.Contains(c.Line, "reboot") {
			t.Errorf("an alert's text stands in a command: %s", c.Line)
		}
	}
	if strings.Contains(report.Title, "rm -rf") {
		t.Errorf("an alert's text stands in the title: %s", report.Title)
	}
	text := report.fallback()
	for _, live := range []string{"<!channel>", "<https://evil", "@here", "\u202e"} {
		if strings.Contains(text, live) {
			t.Errorf("the text for Slack still has %q:\n%s", live, text)
		}
	}
	for _, b := range report.blocks() {
		encoded, err := json.Marshal(b)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(encoded), "rm -rf") && strings.Contains(string(encoded), `"mrkdwn"`) {
			t.Errorf("an alert's text stands where Slack reads markup: %s", encoded)
		}
	}
	if got := linkable("https://evil.example/a|b>c<d"); strings.ContainsAny(got, "|<>") {
		t.Errorf("a link can be ended from within: %s", got)
	}
}

// TestSlackTakesTheLongestReport: what does not fit is cut, not refused.
func TestSlackTakesTheLongestReport(t *testing.T) {
	long := strings.Repeat("<&>", 3000)
	r := accused(holds(rollback.Managed, long), onHold, func(r *rollback.Record) {
		r.Namespace, r.Release = strings.Repeat("n", 63), strings.Repeat("r", 53)
		r.Decisions[0].Do = "flux suspend " + long
		for i := range 19 {
			a := r.Accusations[0]
			a.Alert, a.Summary, a.Description, a.Fingerprint = long, long, long, fmt.Sprint(i)
			r.Accusations = append(r.Accusations, a)
		}
		for range 30 {
			r.Weights = append(r.Weights, rollback.Weight{Kind: long, Name: "web", From: "20", To: "0"})
		}
	})
	report := Of(r, setting())
	server := fakeSlack()
	for _, place := range []string{"hooks", "slack"} {
		w := &world{hosts: map[string]http.Handler{"hooks.example": server, "slack.example": server}}
		hook := &slackWebhook{file: file(t, hookURL), client: newClient(w)}
		bot := &slackBot{file: file(t, botToken), api: "https://slack.example/api/", channel: "C1", client: newClient(w)}
		var err error
		if place == "hooks" {
			_, err = hook.deliver(t.Context(), &report, report.Story, "")
		} else {
			_, err = bot.deliver(t.Context(), &report, report.Story, "")
		}
		if err != nil && !errors.Is(err, errMore) {
			t.Errorf("%s: %v, refused: %v", place, err, server.Refusals())
		}
	}
}

// TestAnyRecordCanBeTold: records are ConfigMaps, and people edit them. What they
// leave in one stops nobody's process.
func TestAnyRecordCanBeTold(t *testing.T) {
	steps := []*rollback.Step{nil, {}, step(0, time.Second), failing(20, "x"), {Failed: true}}
	outcomes := []rollback.Outcome{"", rollback.Recovered, rollback.Restored, rollback.NotRecovered, "nonsense"}
	holds := []*rollback.Hold{nil, {}, {Since: noon(), Ended: after(time.Hour)}}
	decisions := []rollback.Decision{{}, acting(), {Verdict: "nonsense", Hold: true, People: true}, {Verdict: rollback.Unconfirmed}}
	count := 0
	for i := range len(steps) * len(steps) * len(steps) * len(steps) {
		for j, d := range decisions {
			r := accused(d)
			n := i
			for _, s := range []**rollback.Step{&r.Shed, &r.Rollback, &r.Raise, &r.Verify} {
				*s = steps[n%len(steps)]
				n /= len(steps)
			}
			r.Outcome, r.Hold = outcomes[(i+j)%len(outcomes)], holds[(i+j)%len(holds)]
			if i%2 == 0 {
				r.Accusations, r.Weights = nil, []rollback.Weight{{}}
			}
			if i%3 == 0 {
				r.Decisions = nil
			}
			report := Of(r, setting())
			_, _, _ = report.blocks(), report.fallback(), report.posted(after(time.Hour), "")
			count++
		}
	}
	if count < 2000 {
		t.Errorf("%d records were tried", count)
	}
}

func TestQuote(t *testing.T) {
	for word, want := range map[string]string{
		"web": "web", "shop/web": "shop/web", "a b": "'a b'", "it's": `'it'\''s'`, "$(reboot)": "'$(reboot)'", "": "''", "a\nb": "'a b'",
	} {
		if got := quote(word); got != want {
			t.Errorf("a shell takes %q for itself as %s, got %s", word, want, got)
		}
	}
}

func TestSeconds(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0.0 s", 300 * time.Millisecond: "0.3 s", 12400 * time.Millisecond: "12 s", 130 * time.Second: "2 min",
	} {
		if got := seconds(d); got != want {
			t.Errorf("%s is told as %q, got %q", d, want, got)
		}
	}
}

// TestRepeatsAreNoNews: the same alert any number of times tells nothing new, and
// another alert is a detail.
func TestRepeatsAreNoNews(t *testing.T) {
	r := accused(acting(), rolledBack)
	before := keys(Of(r, setting()).Story)
	r.Accusations[0].LastSeen = after(time.Hour)
	d := r.Decisions[0]
	d.At, d.Reason = after(time.Minute), "the same in other words"
	r.Decisions = append(r.Decisions, d)
	if now := keys(Of(r, setting()).Story); !slices.Equal(before, now) {
		t.Errorf("a repeat is news: %v, then %v", before, now)
	}
	other := r.Accusations[0]
	other.Fingerprint = "e2"
	r.Accusations = append(r.Accusations, other)
	report := Of(r, setting())
	if len(report.Story) != len(before)+1 || len(report.Outcomes()) != 1 {
		t.Errorf("another alert is one detail more and no outcome: %v", keys(report.Story))
	}
}

func keys(lines []Line) []string {
	all := make([]string, len(lines))
	for i, l := range lines {
		all[i] = l.Key
	}
	slices.Sort(all)
	return all
}
