package handler

import (
	"strings"
	"testing"
	"time"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/report"
)

func TestEveryStateHasAToneALabelAndAGlyph(t *testing.T) {
	tones := map[report.State]tone{
		report.StateStuck: toneHelp, report.StateFailed: toneHelp, report.StateNotRecovered: toneHelp, report.StateNeedsHelp: toneHelp,
		report.StateHeld: toneStopped, report.StateStorm: toneStopped, report.StatePaused: toneStopped,
		report.StateActing: toneProgress, report.StateAwaitingRollback: toneProgress, report.StateVerifying: toneProgress, report.StateWaiting: toneProgress,
	}
	labels := make(map[string]report.State)
	for _, s := range report.States() {
		want := toneCalm
		if other, ok := tones[s]; ok {
			want = other
		}
		if got := stateTone(s); got != want {
			t.Errorf("the tone of %s is %s, want %s", s, got, want)
		}
		if other, taken := labels[stateLabel(s)]; taken {
			t.Errorf("%s and %s have the same label, %q", s, other, stateLabel(s))
		}
		labels[stateLabel(s)] = s
		if strings.Contains(stateLabel(s), "-") {
			t.Errorf("the label of %s is in words: got %q", s, stateLabel(s))
		}
		if stateGlyph(s) == stateGlyph("unknown") {
			t.Errorf("%s has a glyph", s)
		}
	}
	if got := stateLabel("dancing"); got != "dancing" {
		t.Errorf("an unknown state is shown as it is: got %q", got)
	}
}

// TestStyleSheetHasEveryClass: the style sheet has a rule for every class that the pages
// take from a set of constants.
func TestStyleSheetHasEveryClass(t *testing.T) {
	text, err := files.ReadFile("page/style.css")
	if err != nil {
		t.Fatal(err)
	}
	var selectors []string
	for _, c := range []tone{toneHelp, toneStopped, toneProgress, toneCalm} {
		selectors = append(selectors, ".state."+string(c), ".headline."+string(c))
	}
	for _, c := range []phase{phaseSuspect, phaseNoTraffic, phaseVerifying, phaseEnded, laneStep} {
		selectors = append(selectors, "."+string(c))
	}
	for _, selector := range selectors {
		if !strings.Contains(string(text), "\n"+selector+" {") {
			t.Errorf("the style sheet has a rule for %s", selector)
		}
	}
}

func TestHeadlineSaysHowTheOpenRecordsStand(t *testing.T) {
	for _, c := range []struct {
		state report.State
		want  string
		tone  tone
	}{
		{report.StateActing, "backout is acting now on 2 releases", toneProgress},
		{report.StateAwaitingRollback, "2 canaries are out of rotation; the rollback waits", toneProgress},
		{report.StateVerifying, "2 releases are rolled back; backout is verifying that it helped", toneProgress},
		{report.StateHeld, "2 canaries are held at zero", toneStopped},
		{report.StateWaiting, "2 releases have alerts on which backout will decide again", toneProgress},
		{report.StateObserved, "Nothing is being rolled back", toneCalm},
	} {
		now := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
		row := report.Row{Key: rollback.Key{Namespace: "shop", Release: "web"}, Revision: 3, Opened: now.Add(-time.Minute), State: c.state}
		got := newHeadline([]report.Row{row, row}, 0, now)
		if got.Text != c.want || got.Tone != c.tone {
			t.Errorf("of %s records, the headline is %q in the tone %s: got %q, %s", c.state, c.want, c.tone, got.Text, got.Tone)
		}
		if want := "Last: shop/web revision 3, 60 s ago: " + stateLabel(c.state) + "."; got.Detail != want {
			t.Errorf("the headline names the newest record: want %q, got %q", want, got.Detail)
		}
		if got := newHeadline([]report.Row{row}, 1, now); got.Tone != toneHelp || !strings.HasPrefix(got.Text, "1 release needs you") {
			t.Errorf("a record that needs help comes first: got %q, %s", got.Text, got.Tone)
		}
	}
}
