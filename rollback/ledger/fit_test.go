package ledger_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/kubernetes/fake"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/ledger"
)

// flooded returns a record whose every text is as long as backout lets it be.
func flooded(t *testing.T, text string) rollback.Record {
	t.Helper()
	r := worked()
	r.Signals, r.Decisions, r.Dangers = nil, nil, nil
	clip := func(n int) string { return rollback.Clip(text, n) }
	for i := range 20 {
		received := at().Add(time.Duration(i) * time.Minute)
		_, s, err := rollback.Alert{
			Labels:      map[string]string{"alertname": text, "backout": "rollback", "namespace": "shop", "release": "web", "version": text},
			Annotations: map[string]string{"summary": text, "description": text}, Fingerprint: fmt.Sprint(i, text), StartsAt: received,
			GeneratorURL: "https://prometheus.example/?q=" + strings.Repeat("x", 1_900), Sender: &rollback.Sender{Name: text},
		}.Read(received)
		if err != nil {
			t.Fatal(err)
		}
		s.Confirmation = &rollback.Confirmation{Answer: rollback.AnswerUnknown, ActiveSince: received, Error: clip(rollback.MaxSummary)}
		r.AddSignal(s)
		r.Decide(rollback.Decision{Verdict: rollback.Unsafe, Reason: fmt.Sprint(i, clip(1_500)), Command: r.HelmHistoryCommand(), At: received})
		r.Dangers = append(r.Dangers, rollback.Danger{Kind: rollback.DangerUnbuildable, What: clip(rollback.MaxSummary)})
	}
	r.Trace = &rollback.Trace{At: at()}
	for range 20 {
		r.Trace.Checks = append(r.Trace.Checks, rollback.TraceCheck{Name: clip(rollback.MaxName), Result: clip(200)})
		r.Trace.Candidates = append(r.Trace.Candidates, rollback.Candidate{Revision: 1_000_000, Status: "superseded", Deployed: at(), Reason: clip(rollback.MaxSummary)})
	}
	step := rollback.Step{Started: at(), Done: at(), Attempts: 20, Error: clip(1000), Note: clip(rollback.MaxSummary)}
	r.Preflight, r.Shed, r.Rollback, r.Restore, r.Verify = &step, &step, &step, &step, &step
	r.Notified = make(map[string]rollback.Notified)
	for _, channel := range []string{"slack-bot", "slack-webhook", "webhook", "alertmanager-1", "alertmanager-2"} {
		var n rollback.Notified
		for _, s := range r.Signals {
			n.Entries = append(n.Entries, "signal/"+s.Fingerprint+"/1")
		}
		r.Notified[channel] = n
	}
	return r
}

// TestARecordIsStoredWhateverItsTextsAre: a record that could not be stored would answer 503
// to each further alert.
func TestARecordIsStoredWhateverItsTextsAre(t *testing.T) {
	for name, text := range map[string]string{
		"pictures": strings.Repeat("🚀", 3_000), "three bytes": strings.Repeat("語", 3_000), "quotes": strings.Repeat(`"\'`, 1_000),
		"marks of YAML": strings.Repeat("- [{:, ", 500), "spaces": strings.Repeat("x ", 1_500), "private use": strings.Repeat("\uE000\U000F0000", 1_500),
	} {
		t.Run(name, func(t *testing.T) {
			client := versioned(fake.NewClientset())
			l := signing(t, client)
			want := flooded(t, text)
			stored, err := l.Save(t.Context(), want)
			if err != nil {
				t.Fatalf("the largest record is stored: got %v", err)
			}
			size := len(configMap(t, client, "shop", ledger.Name("web", 7)).Data["record.yaml"])
			if limit := 240 << 10; size > limit {
				t.Errorf("it leaves room for what a command adds: got %d bytes, want at most %d", size, limit)
			}
			got := readBy(t, l)
			if len(got.Ignored) != 0 {
				t.Errorf("it is signed as it is stored: ignored %q", got.Ignored)
			}
			want = want.Printable()
			for i := range want.Signals {
				if got.Signals[i].Episode() != want.Signals[i].Episode() || got.Signals[i].Alert != want.Signals[i].Alert || got.Signals[i].Level != want.Signals[i].Level {
					t.Errorf("only details are left out of signal %d: got %+v", i, got.Signals[i])
				}
			}
			if got.Decision().Reason != want.Decision().Reason || !reflect.DeepEqual(got.Notified, want.Notified) || got.Target != want.Target {
				t.Errorf("the decision in force and what was sent are kept: got %+v", got.Decision())
			}
			if _, err := l.Save(t.Context(), stored); err != nil {
				t.Errorf("and is stored again: got %v", err)
			}
		})
	}
}

// TestALargeRecordLeavesRoomForACommand: of every size, what an operator's command adds still
// fits.
func TestALargeRecordLeavesRoomForACommand(t *testing.T) {
	for n := 300; n < 900; n += 30 {
		client := versioned(fake.NewClientset())
		save(t, signing(t, client), flooded(t, strings.Repeat("語", n)))
		if size := len(configMap(t, client, "shop", ledger.Name("web", 7)).Data["record.yaml"]); size > 240<<10 {
			t.Errorf("with texts of %d characters it has %d bytes", n, size)
		}
	}
}

// TestDetailsAreLeftOutOfALargeRecordAlone: of a record that fits, everything is kept.
func TestDetailsAreLeftOutOfALargeRecordAlone(t *testing.T) {
	client := versioned(fake.NewClientset())
	l := signing(t, client)
	r := flooded(t, "x")
	save(t, l, r)
	if got := readBy(t, l); got.Trace == nil || got.Signals[0].Description != "x" || got.Signals[0].Link == "" {
		t.Errorf("a record that fits is stored with its details: got %+v", got)
	}
}

// TestACommandLeavesALargeRecordSigned: a command has no keys, so it leaves out nothing.
func TestACommandLeavesALargeRecordSigned(t *testing.T) {
	client := versioned(fake.NewClientset())
	l := signing(t, client)
	save(t, l, flooded(t, strings.Repeat("語", 3_000)))
	c := command(client)
	r := readBy(t, c)
	r.Hold = &rollback.Hold{Since: at(), Reason: strings.Repeat("語", 3_000)}
	r.Decide(rollback.OrderedHold(r.Key, "ann", at()))
	save(t, c, r)
	if got := readBy(t, l); len(got.Ignored) != 0 || !got.Hold.Active() {
		t.Errorf("ignored %q after an operator's hold of a large record", got.Ignored)
	}
}
