package rollback_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/upcommerce/backout/rollback"
)

// firing is the accusation of one episode, heard after the given time.
func firing(episode string, level rollback.Level, after time.Duration) rollback.Accusation {
	return rollback.Accusation{
		Alert: "CanaryErrors", Level: level, Fingerprint: episode, StartsAt: now(),
		Received: now().Add(after), LastSeen: now().Add(after),
	}
}

// over is the same, resolved.
func over(episode string, level rollback.Level, after time.Duration) rollback.Accusation {
	a := firing(episode, level, after)
	a.Resolved = a.Received
	return a
}

func TestRecordAccuseOneEpisode(t *testing.T) {
	type delivery struct {
		acc  rollback.Accusation
		save bool
		rule string
	}
	at := func(after time.Duration) rollback.Accusation { return firing("a", rollback.LevelRollback, after) }
	end := func(after time.Duration) rollback.Accusation { return over("a", rollback.LevelRollback, after) }
	for _, c := range []struct {
		name       string
		deliveries []delivery
		lastSeen   time.Duration
		resolved   time.Duration
	}{
		{"repeats", []delivery{
			{at(0), true, "a new episode is stored"},
			{at(time.Second), false, "a repetition within 30 s is not written"},
			{at(29 * time.Second), false, "a repetition within 30 s is not written"},
			{at(30 * time.Second), true, "a repetition after 30 s is written"},
			{at(31 * time.Second), false, "30 s count from the last write"},
		}, 30 * time.Second, 0},
		{"resolved", []delivery{
			{at(0), true, "a new episode is stored"},
			{end(time.Second), true, "the end of a known episode is stored"},
			{end(2 * time.Second), false, "the end is stored once"},
		}, 0, time.Second},
		{"fires again", []delivery{
			{at(0), true, "a new episode is stored"},
			{end(time.Second), true, "the end of a known episode is stored"},
			{at(2 * time.Second), true, "an episode that goes on after all is not over"},
		}, 2 * time.Second, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			var record rollback.Record
			for _, d := range c.deliveries {
				if got := record.Accuse(d.acc); got != d.save {
					t.Errorf("%s: Accuse said %t", d.rule, got)
				}
			}
			want := firing("a", rollback.LevelRollback, 0)
			want.LastSeen = now().Add(c.lastSeen)
			if c.resolved != 0 {
				want.Resolved = now().Add(c.resolved)
			}
			if diff := cmp.Diff([]rollback.Accusation{want}, record.Accusations); diff != "" {
				t.Errorf("one episode is one accusation (-want +got):\n%s", diff)
			}
		})
	}
}

func TestRecordAccuseUnknownEnd(t *testing.T) {
	var record rollback.Record
	if record.Accuse(over("a", rollback.LevelRollback, 0)) || len(record.Accusations) != 0 {
		t.Errorf("an episode that is first heard of when it is over accuses nothing: got %v", record.Accusations)
	}
}

// fullRecord holds as many accusations as a record takes.
func fullRecord(t *testing.T, nth func(i int) rollback.Accusation) *rollback.Record {
	t.Helper()
	record := &rollback.Record{}
	for i := range 20 {
		record.Accuse(firing(fmt.Sprint(i), nth(i).Level, 0))
	}
	for i := range 20 {
		if a := nth(i); !a.Resolved.IsZero() {
			record.Accuse(a)
		}
	}
	if len(record.Accusations) != 20 || record.Uncounted != 0 {
		t.Fatalf("a record takes 20 accusations: got %d, %d uncounted", len(record.Accusations), record.Uncounted)
	}
	return record
}

func TestRecordAccuseIsBounded(t *testing.T) {
	record := fullRecord(t, func(i int) rollback.Accusation { return firing(fmt.Sprint(i), rollback.LevelShed, 0) })
	for i := range 1000 {
		if !record.Accuse(firing(fmt.Sprintf("more %d", i), rollback.LevelShed, 0)) {
			t.Fatal("what is only counted is stored too")
		}
	}
	if len(record.Accusations) != 20 || record.Uncounted != 1000 {
		t.Errorf("a full record only counts: got %d accusations, %d uncounted", len(record.Accusations), record.Uncounted)
	}
}

func TestRecordAccuseKeepsTheStrongest(t *testing.T) {
	levels := []rollback.Level{rollback.LevelRollback, rollback.LevelShed, rollback.LevelObserve, rollback.LevelShed}
	record := fullRecord(t, func(i int) rollback.Accusation { return firing(fmt.Sprint(i), levels[i%4], 0) })
	strong := firing("strong", rollback.LevelRollback, 0)
	record.Accuse(strong)
	if !record.Holds(strong.Episode()) {
		t.Error("a stronger accusation finds room in a full record")
	}
	if record.Holds(firing("2", rollback.LevelObserve, 0).Episode()) {
		t.Error("the weakest accusation makes room")
	}
	for range 100 {
		record.Accuse(firing(fmt.Sprint(len(record.Accusations), record.Uncounted), rollback.LevelRollback, 0))
	}
	record.Accuse(firing("weak", rollback.LevelObserve, 0))
	for _, a := range record.Accusations {
		if a.Level != rollback.LevelRollback {
			t.Errorf("no weaker accusation stays in place of a stronger one: got %s", a.Level)
		}
	}
}

// TestRecordAccuseFlapping pins that an alert which comes and goes cannot use up
// the record's room: what is over weighs nothing while nothing was done about it.
func TestRecordAccuseFlapping(t *testing.T) {
	flapped := func(i int) rollback.Accusation { return over(fmt.Sprint(i), rollback.LevelRollback, time.Second) }
	next := firing("next", rollback.LevelShed, time.Minute)

	record := fullRecord(t, flapped)
	record.Accuse(next)
	if !record.Holds(next.Episode()) {
		t.Error("an alert that fires finds room in a record full of resolved ones")
	}

	record = fullRecord(t, flapped)
	record.Shed = &rollback.Step{Started: now()}
	record.Accuse(next)
	if record.Holds(next.Episode()) {
		t.Error("what a step was begun for stays in the record, resolved or not")
	}
}

func TestRecordDecide(t *testing.T) {
	var record rollback.Record
	if got := record.Decision(); got != (rollback.Decision{}) {
		t.Errorf("a fresh record has no decision: got %+v", got)
	}
	first := rollback.Decision{Verdict: rollback.Settling, Reason: "too young", At: now()}
	if !record.Decide(first) {
		t.Error("the first decision is news")
	}
	again := first
	again.At = now().Add(time.Minute)
	if record.Decide(again) || len(record.Decisions) != 1 {
		t.Error("the same decision at another time is no news")
	}
	for i := range 1000 {
		record.Decide(rollback.Decision{Verdict: rollback.Busy, Reason: fmt.Sprint(i), At: now()})
	}
	if len(record.Decisions) != 20 {
		t.Errorf("a record keeps 20 decisions: got %d", len(record.Decisions))
	}
	if got := record.Decisions[0].Verdict; got != rollback.Settling {
		t.Errorf("the first decision is kept: got %s", got)
	}
	if got := record.Decision().Reason; got != "999" {
		t.Errorf("the newest decision is in force: got %s", got)
	}
}

// TestDecisionSameAbroad pins that a waiting decision is no news only because it
// was stored meanwhile: Helm writes times in the zone of whoever deployed, and
// reading a time from text gives it a zone of its own.
func TestDecisionSameAbroad(t *testing.T) {
	decision := rollback.Decision{
		Verdict: rollback.Settling, Reason: "too young", At: now(),
		Again: now().Add(time.Minute).In(time.FixedZone("", 5*60*60+30*60)),
	}
	text, err := yaml.Marshal(decision)
	if err != nil {
		t.Fatal(err)
	}
	var stored rollback.Decision
	if err := yaml.Unmarshal(text, &stored); err != nil {
		t.Fatal(err)
	}
	if !decision.Same(stored) {
		t.Errorf("a decision is the same after it was stored: %+v and %+v", decision, stored)
	}
	stored.Again = stored.Again.Add(time.Second)
	if decision.Same(stored) {
		t.Error("a decision that waits for longer is another one")
	}
}

func TestCondemned(t *testing.T) {
	begun := &rollback.Step{Started: now()}
	got := rollback.Condemned([]rollback.Record{
		{Content: "rolled back", Rollback: &rollback.Step{Started: now(), Done: now()}},
		{Content: "begun", Rollback: begun},
		{Content: "failed", Rollback: &rollback.Step{Started: now(), Failed: true}},
		{Content: "only shed", Shed: begun},
		{Content: "only watched"},
		{Content: "", Rollback: begun},
	})
	want := map[string]bool{"rolled back": true, "begun": true, "failed": true}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("content is condemned once its rollback was begun (-want +got):\n%s", diff)
	}
}

func TestStep(t *testing.T) {
	for _, c := range []struct {
		step                *rollback.Step
		finished, succeeded bool
		what                string
	}{
		{nil, false, false, "a step that was never started"},
		{&rollback.Step{Started: now()}, false, false, "a step that was begun"},
		{&rollback.Step{Started: now(), Attempts: 2, Error: "busy"}, false, false, "a step that is tried again"},
		{&rollback.Step{Started: now(), Done: now()}, true, true, "a step that is done"},
		{&rollback.Step{Started: now(), Failed: true}, true, false, "a step that was given up"},
	} {
		if c.step.Finished() != c.finished || c.step.Succeeded() != c.succeeded {
			t.Errorf("%s: finished %t, succeeded %t", c.what, c.step.Finished(), c.step.Succeeded())
		}
	}
}

func TestRecordSummary(t *testing.T) {
	done := &rollback.Step{Started: now(), Done: now()}
	record := rollback.Record{
		Key: rollback.Key{Namespace: "shop", Release: "web"}, Revision: 3,
		Decisions: []rollback.Decision{{Verdict: rollback.Act, Reason: "revision 3 is accused"}},
		Weights:   []rollback.Weight{{Kind: "Ingress", Name: "web-canary", From: "20", To: "0"}},
	}
	for _, c := range []struct {
		change func(*rollback.Record)
		want   string
		rule   string
	}{
		{func(*rollback.Record) {}, "revision 3 of shop/web: act (revision 3 is accused)", "what is not done is not told"},
		{func(r *rollback.Record) { r.Shed = done }, "revision 3 of shop/web: act; Ingress/web-canary 20 -> 0 (revision 3 is accused)", "a shed is told by its weights"},
		{
			func(r *rollback.Record) { r.Shed, r.Rollback, r.Target, r.Made = done, done, 2, 4 },
			"revision 3 of shop/web: act; Ingress/web-canary 20 -> 0; rolled back to revision 2 as revision 4 (revision 3 is accused)",
			"a rollback is told by its revisions",
		},
		{
			func(r *rollback.Record) { r.Rollback = &rollback.Step{Failed: true, Error: "no such image"} },
			"revision 3 of shop/web: act; no such image (revision 3 is accused)", "a failed step is told by its error",
		},
		{
			func(r *rollback.Record) {
				r.Shed, r.Hold = done, &rollback.Hold{Since: now()}
				r.Weights = []rollback.Weight{{Kind: "Ingress", Name: "web-canary", From: "20", To: "0", Applier: "helm"}}
			},
			"revision 3 of shop/web: act; Ingress/web-canary 20 -> 0; held at zero; helm applies Ingress/web-canary server-side: its next upgrade is " +
				"refused as a conflict with field manager backout, unless somebody runs before it: backout release shop/web (revision 3 is accused)",
			"who will meet a conflict is told how to avoid it",
		},
	} {
		r := record
		c.change(&r)
		if got := r.Summary(); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.rule, got, c.want)
		}
	}
	if got := (&rollback.Record{Key: record.Key, Revision: 1}).Summary(); strings.Contains(got, "\n") || strings.Contains(got, "()") {
		t.Errorf("a summary is one line also without a decision: got %q", got)
	}
}

func TestVerdictEffects(t *testing.T) {
	if got := rollback.Verdict("made up").Effect(); got != (rollback.Effect{}) {
		t.Errorf("an unknown verdict allows nothing: got %+v", got)
	}
	verdicts := rollback.Verdicts()
	if unique := slices.Compact(slices.Sorted(slices.Values(verdicts))); len(unique) != len(verdicts) {
		t.Errorf("every verdict is listed once: got %v", verdicts)
	}
	for _, v := range verdicts {
		if e := v.Effect(); e.Rollback && v != rollback.Act && v != rollback.NoStable {
			t.Errorf("only act and no-stable allow a rollback: %s does", v)
		}
	}
}
