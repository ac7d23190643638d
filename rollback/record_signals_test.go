package rollback_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/rollbacktest"
)

// firing returns the signal of an episode that was received that long after now.
func firing(episode string, level rollback.Level, after time.Duration) rollback.Signal {
	return rollback.Signal{
		Alert: "CanaryErrors", Level: level, Fingerprint: episode, StartsAt: rollbacktest.Now(),
		Received: rollbacktest.Now().Add(after), LastSeen: rollbacktest.Now().Add(after),
	}
}

// resolved returns the same signal for the end of the episode.
func resolved(episode string, level rollback.Level, after time.Duration) rollback.Signal {
	a := firing(episode, level, after)
	a.Resolved = a.Received
	return a
}

func TestOneEpisodeIsOneSignal(t *testing.T) {
	type delivery struct {
		signal rollback.Signal
		save   bool
		rule   string
	}
	at := func(after time.Duration) rollback.Signal { return firing("a", rollback.LevelRollback, after) }
	end := func(after time.Duration) rollback.Signal { return resolved("a", rollback.LevelRollback, after) }
	for _, c := range []struct {
		name       string
		deliveries []delivery
		lastSeen   time.Duration
		resolved   time.Duration
	}{
		{"repeats", []delivery{
			{at(0), true, "a new episode is stored"},
			{at(time.Second), false, "a repeat within 30 s is not written"},
			{at(29 * time.Second), false, "a repeat within 30 s is not written"},
			{at(30 * time.Second), true, "a repeat after 30 s is written"},
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
			{at(2 * time.Second), true, "an episode that fires again is not over"},
		}, 2 * time.Second, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			var record rollback.Record
			for _, d := range c.deliveries {
				if got := record.AddSignal(d.signal); got != d.save {
					t.Errorf("%s: AddSignal returned %t", d.rule, got)
				}
			}
			want := firing("a", rollback.LevelRollback, 0)
			want.LastSeen = rollbacktest.Now().Add(c.lastSeen)
			if c.resolved != 0 {
				want.Resolved = rollbacktest.Now().Add(c.resolved)
			}
			if diff := cmp.Diff([]rollback.Signal{want}, record.Signals); diff != "" {
				t.Errorf("one episode is one signal (-want +got):\n%s", diff)
			}
		})
	}
}

// TestAStartThatMovesIsOneEpisode: Alertmanager reports the earliest begin that it knows of one
// firing, and two Alertmanagers may know different ones.
func TestAStartThatMovesIsOneEpisode(t *testing.T) {
	began := func(startsAt, received time.Duration) rollback.Signal {
		s := firing("a", rollback.LevelRollback, received)
		s.StartsAt = rollbacktest.Now().Add(startsAt)
		return s
	}
	first := began(0, time.Minute)
	for name, c := range map[string]struct {
		next    rollback.Signal
		claimed bool
		want    []time.Duration // the begin of each episode of the record
	}{
		"earlier":                           {began(-15*time.Second, 2*time.Minute), false, []time.Duration{-15 * time.Second}},
		"earlier, after a step was started": {began(-15*time.Second, 2*time.Minute), true, []time.Duration{0}},
		"earlier, within 30 s":              {began(-15*time.Second, time.Minute+time.Second), false, []time.Duration{-15 * time.Second}},
		"later, while it was seen firing":   {began(30*time.Second, 2*time.Minute), false, []time.Duration{0}},
		"after it was last seen":            {began(90*time.Second, 2*time.Minute), false, []time.Duration{0, 90 * time.Second}},
		"an order":                          {order(began(-15*time.Second, 2*time.Minute)), false, []time.Duration{0, -15 * time.Second}},
	} {
		t.Run(name, func(t *testing.T) {
			var record rollback.Record
			record.AddSignal(first)
			if c.claimed {
				record.Shed = &rollback.Step{Started: rollbacktest.Now()}
			}
			record.AddSignal(c.next)
			var got []time.Duration
			for _, s := range record.Signals {
				got = append(got, s.StartsAt.Sub(rollbacktest.Now()))
			}
			if diff := cmp.Diff(c.want, got); diff != "" || !record.Holds(c.next) {
				t.Errorf("one firing is one episode (-want +got):\n%s", diff)
			}
		})
	}
	t.Run("its end", func(t *testing.T) {
		var record rollback.Record
		record.AddSignal(first)
		end := began(-15*time.Second, 2*time.Minute)
		end.Resolved = end.Received
		if !record.AddSignal(end) || record.Signals[0].Resolved.IsZero() {
			t.Errorf("the end of a firing whose begin has moved is its end: got %v", record.Signals)
		}
	})
}

func order(s rollback.Signal) rollback.Signal {
	s.Operator = "alice"
	return s
}

func TestTheEndOfAnUnknownEpisodeIsNoSignal(t *testing.T) {
	var record rollback.Record
	if record.AddSignal(resolved("a", rollback.LevelRollback, 0)) || len(record.Signals) != 0 {
		t.Errorf("an episode whose end is the first delivery yields no signal: got %v", record.Signals)
	}
}

// fullRecord returns a record with as many signals as it can hold.
func fullRecord(t *testing.T, nth func(i int) rollback.Signal) *rollback.Record {
	t.Helper()
	record := &rollback.Record{}
	for i := range 20 {
		record.AddSignal(firing(fmt.Sprint(i), nth(i).Level, 0))
	}
	for i := range 20 {
		if a := nth(i); !a.Resolved.IsZero() {
			record.AddSignal(a)
		}
	}
	if len(record.Signals) != 20 || record.DroppedSignals != 0 {
		t.Fatalf("a record holds 20 signals: got %d, %d dropped", len(record.Signals), record.DroppedSignals)
	}
	return record
}

func TestAFullRecordOnlyCountsSignals(t *testing.T) {
	record := fullRecord(t, func(i int) rollback.Signal { return firing(fmt.Sprint(i), rollback.LevelShed, 0) })
	for i := range 1000 {
		if !record.AddSignal(firing(fmt.Sprintf("more %d", i), rollback.LevelShed, 0)) {
			t.Fatal("a record has to be written if a signal is only counted")
		}
	}
	if len(record.Signals) != 20 || record.DroppedSignals != 1000 {
		t.Errorf("a full record only counts further signals: got %d signals, %d dropped", len(record.Signals), record.DroppedSignals)
	}
}

func TestAFullRecordKeepsTheStrongestSignals(t *testing.T) {
	levels := []rollback.Level{rollback.LevelRollback, rollback.LevelShed, rollback.LevelObserve, rollback.LevelShed}
	record := fullRecord(t, func(i int) rollback.Signal { return firing(fmt.Sprint(i), levels[i%4], 0) })
	strong := firing("strong", rollback.LevelRollback, 0)
	record.AddSignal(strong)
	if !record.Holds(strong) {
		t.Error("a stronger signal gets a place in a full record")
	}
	if record.Holds(firing("2", rollback.LevelObserve, 0)) {
		t.Error("the weakest signal loses its place")
	}
	for range 100 {
		record.AddSignal(firing(fmt.Sprint(len(record.Signals), record.DroppedSignals), rollback.LevelRollback, 0))
	}
	record.AddSignal(firing("weak", rollback.LevelObserve, 0))
	for _, a := range record.Signals {
		if a.Level != rollback.LevelRollback {
			t.Errorf("a stronger signal replaces every weaker one: got %s", a.Level)
		}
	}
}

// TestAFlappingAlertDoesNotFillTheRecord: resolved signals lose their places as long as
// backout has not started a step.
func TestAFlappingAlertDoesNotFillTheRecord(t *testing.T) {
	flapped := func(i int) rollback.Signal { return resolved(fmt.Sprint(i), rollback.LevelRollback, time.Second) }
	next := firing("next", rollback.LevelShed, time.Minute)

	record := fullRecord(t, flapped)
	record.AddSignal(next)
	if !record.Holds(next) {
		t.Error("a firing alert gets a place in a record full of resolved ones")
	}

	record = fullRecord(t, flapped)
	record.Shed = &rollback.Step{Started: rollbacktest.Now()}
	record.AddSignal(next)
	if record.Holds(next) {
		t.Error("once a step was started, resolved signals keep their places")
	}
}

// A sender could fill a record with invented alerts, and so keep the real one out.
func TestAnAlertThatPrometheusDeniesGivesUpItsPlace(t *testing.T) {
	for _, answer := range []rollback.Answer{rollback.AnswerQuiet, rollback.AnswerUnproven} {
		record := fullRecord(t, func(i int) rollback.Signal { return firing(fmt.Sprint(i), rollback.LevelRollback, 0) })
		record.Shed = &rollback.Step{Started: rollbacktest.Now()}
		record.Signals[7].Confirmation = &rollback.Confirmation{Answer: answer}
		record.AddSignal(firing("real", rollback.LevelShed, time.Minute))
		if !record.Holds(firing("real", rollback.LevelShed, 0)) || len(record.Signals) != 20 {
			t.Errorf("an alert that Prometheus denies (%s) keeps no other one out of a full record", answer)
		}
	}
}

// A sender whose token said too little posts the same alert with one that says who confirms it.
func TestADeniedAlertIsConfirmedAsItsLastTokenSays(t *testing.T) {
	for _, tried := range []bool{false, true} {
		record := rollback.Record{}
		known := firing("e1", rollback.LevelRollback, 0)
		known.Sender, known.Confirmation = "token of shop", &rollback.Confirmation{Answer: rollback.AnswerUnproven}
		record.AddSignal(known)
		if tried {
			record.Shed = &rollback.Step{Started: rollbacktest.Now(), Done: rollbacktest.Now()}
		}
		repeated := firing("e1", rollback.LevelShed, 10*time.Second)
		repeated.Sender, repeated.Confirm = "token of shop, confirmed by grafana", rollback.ConfirmByGrafana
		record.AddSignal(repeated)
		got := record.Signals[0]
		if again := got.Confirm == rollback.ConfirmByGrafana && got.Confirmation == nil && got.Sender == repeated.Sender && got.Level == rollback.LevelShed; again == tried || len(record.Signals) != 1 {
			t.Errorf("after a shed %t: got %+v", tried, got)
		}
	}
}

// Grafana forgets the alerts of a canary that gets no requests.
func TestTheSilenceOfGrafanaAfterAShedProvesNothing(t *testing.T) {
	for _, c := range []struct {
		by   rollback.ConfirmBy
		shed bool
		want rollback.Answer
	}{
		{rollback.ConfirmByGrafana, true, rollback.AnswerUnknown},
		{rollback.ConfirmByGrafana, false, rollback.AnswerQuiet},
		{"", true, rollback.AnswerQuiet},
	} {
		s := firing("e1", rollback.LevelRollback, 0)
		s.Confirm, s.Confirmation = c.by, &rollback.Confirmation{Answer: rollback.AnswerUnknown}
		record := rollback.Record{Signals: []rollback.Signal{s}}
		if c.shed {
			record.Shed = &rollback.Step{Started: rollbacktest.Now(), Done: rollbacktest.Now(), Attempts: 1}
		}
		record.Confirm(map[rollback.Episode]rollback.Confirmation{s.Episode(): {Answer: rollback.AnswerQuiet}})
		if got := record.Signals[0].Answer(); got != c.want {
			t.Errorf("confirmed by %q, after a shed %t: %s, want %s", c.by, c.shed, got, c.want)
		}
	}
}

func TestTheWeakerLevelCounts(t *testing.T) {
	const observe, shed, both = rollback.LevelObserve, rollback.LevelShed, rollback.LevelRollback
	for _, c := range []struct{ received, fires, want rollback.Level }{
		{both, "", both}, // Prometheus was not asked, or an older version of backout asked it
		{both, both, both},
		{both, shed, shed},
		{both, observe, observe},
		{shed, both, shed},
		{observe, both, observe},
		{both, "nonsense", observe},
		{"nonsense", both, observe},
	} {
		s := firing("a", c.received, 0)
		if s.Confirmation = (&rollback.Confirmation{Answer: rollback.AnswerFiring, Level: c.fires}); s.EffectiveLevel() != c.want {
			t.Errorf("received with the level %q, and firing with %q: want %s, got %s", c.received, c.fires, c.want, s.EffectiveLevel())
		}
		if s.CountsForRecovery() != (c.want != observe) {
			t.Errorf("received with the level %q, and firing with %q: its end counts for recovery unless it only observes", c.received, c.fires)
		}
	}
	s := firing("a", both, 0)
	if s.Confirmation = (&rollback.Confirmation{Answer: rollback.AnswerUnproven}); s.CountsForRecovery() {
		t.Error("the end of an alert that no rule proves says nothing about recovery")
	}
}
