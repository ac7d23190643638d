package prom_test

import (
	"context"
	"testing"
	"time"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/prom"
)

// TestTheLevelIsThatOfTheAlertInPrometheus has alerts that fire with other levels than
// the signal, which requests a rollback.
func TestTheLevelIsThatOfTheAlertInPrometheus(t *testing.T) {
	long := ago(30 * time.Second)
	with := func(level string, pairs ...string) alert {
		return alert{labels: labels(append(pairs, "backout", level)...), from: long, since: long}
	}
	before := ago(time.Second)
	for _, c := range []struct {
		what    string
		servers []*fake
		want    rollback.Level
	}{
		{"the level of the rule", []*fake{evaluated(before, with("observe"))}, rollback.LevelObserve},
		{"the level of the rule in memory", []*fake{evaluated(before, unstored(with("shed")))}, rollback.LevelShed},
		{"of two series, the stronger one fired", []*fake{evaluated(before, with("observe"), with("rollback"))}, rollback.LevelRollback},
		{"so it did in any order", []*fake{evaluated(before, with("rollback"), with("shed"))}, rollback.LevelRollback},
		{"so it did if only the memory has it yet", []*fake{evaluated(before, with("observe"), unstored(with("rollback")))}, rollback.LevelRollback},
		{"of a pair, the stronger one fired", []*fake{evaluated(before, with("observe")), evaluated(before, with("shed"))}, rollback.LevelShed},
		{"another release's level does not count", []*fake{evaluated(before, with("shed"), with("rollback", "release", "cart"))}, rollback.LevelShed},
		{"a weaker level is known though another server is down", []*fake{evaluated(before, with("observe")), nil}, rollback.LevelObserve},
	} {
		client := newClient(t, prom.Config{URLs: start(t, c.servers...)})
		if got := client.Firing(t.Context(), shop, badCanary, receipt); got.Answer != isFiring || got.Level != c.want {
			t.Errorf("%s: want firing with the level %s, got %+v", c.what, c.want, got)
		}
	}
}

// TestAWeakerLevelWaitsForTheOtherServers has a server that does not answer: it may have
// the alert with the level of the signal.
func TestAWeakerLevelWaitsForTheOtherServers(t *testing.T) {
	observed := alert{labels: labels("backout", "observe"), from: ago(time.Minute), since: ago(time.Minute)}
	client := newClient(t, prom.Config{URLs: start(t, hanging(), evaluated(ago(time.Second), observed))})
	ctx, cancel := context.WithTimeout(t.Context(), 250*time.Millisecond)
	defer cancel()
	began := time.Now()
	got := client.Firing(ctx, shop, badCanary, receipt)
	if took := time.Since(began); got.Answer != isFiring || got.Level != rollback.LevelObserve || took < 240*time.Millisecond {
		t.Errorf("want the level observe when the time is over, got %+v after %s", got, took)
	}
}
