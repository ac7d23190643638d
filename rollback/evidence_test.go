package rollback_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/rollbacktest"
)

// A tag that was rolled back is deployed again. Until the window of the alert has passed since
// the rollback, its evidence may be that of the canary before, whether the new one is healthy or
// bad: both look the same until then.
func TestEvidenceOfTheSameTag(t *testing.T) {
	for _, gap := range []time.Duration{10 * time.Second, 30 * time.Second, time.Minute, 2 * time.Minute, 4 * time.Minute} {
		for alert, window := range map[string]time.Duration{"CanaryErrorRatio": 3 * time.Minute, "CanaryErrorRatioSlow": 7 * time.Minute, "TeamErrors": 7 * time.Minute} {
			for version, since := range map[string]time.Duration{"v3": gap, "": 0, "v7": 0, "v2": -time.Hour} {
				for _, age := range []time.Duration{time.Second, 30 * time.Second, 90 * time.Second, 4 * time.Minute, 8 * time.Minute} {
					c := sameTag(gap, age)
					c.Signals = []rollback.Signal{{Alert: alert, Level: rollback.LevelRollback, Fingerprint: "e9", Version: version, StartsAt: c.Now, Received: c.Now}}
					want := rollback.Act
					switch {
					case version == "v2":
						want = rollback.Stale
					case age+since < window:
						want = rollback.Settling
					}
					got := c.Assess(c.Signals[0]).Verdict
					if got != want {
						t.Errorf("%s about %q, the tag again %s after its rollback, %s old: got %s, want %s", alert, version, gap, age, got, want)
					}
				}
			}
		}
	}
}

// sameTag has v3, rolled back that long before revision 4 is deployed, which is v3 again and of
// that age.
func sameTag(gap, age time.Duration) rollback.Case {
	now := rollbacktest.Now()
	deployed := now.Add(-age)
	revision := func(number int, at time.Time, content, version string) rollback.Revision {
		return rollback.Revision{Number: number, UID: content + version, Status: rollback.StatusSuperseded, Deployed: at, Content: content, Versions: []string{version}}
	}
	c := rollback.Case{Key: rollbacktest.Shop(), Policy: rollbacktest.Policy(), Now: now, History: rollback.History{
		revision(4, deployed, "c4", "v3"), revision(3, deployed.Add(-gap), "c2", "v2"),
		revision(2, deployed.Add(-gap-time.Hour), "c3", "v3"), revision(1, deployed.Add(-5*time.Hour), "c2", "v2"),
	}}
	c.History[0].Status = rollback.StatusDeployed
	return c
}

// An alert that names the revision counts its requests alone, and the steps of a ramp are one
// revision.
func TestOwnEvidence(t *testing.T) {
	c := sameTag(10*time.Second, time.Second)
	signal := rollback.Signal{Level: rollback.LevelRollback, Version: "v3", Revision: 4, StartsAt: c.Now, Received: c.Now}
	if got := c.Assess(signal).Verdict; got != rollback.Act {
		t.Errorf("an alert that names revision 4: got %s, want act", got)
	}
	ramp := c.History[0]
	ramp.Number, ramp.UID, ramp.Deployed, ramp.Status = 5, "uid-5", c.Now, rollback.StatusDeployed
	c.History = slices.Insert(c.History, 0, ramp)
	c.History[1].Deployed, c.History[2].Deployed = c.Now.Add(-8*time.Minute), c.Now.Add(-9*time.Minute)
	signal.Revision = 0
	for _, signal.Version = range []string{"v3", ""} {
		if got := c.Assess(signal).Verdict; got != rollback.Act {
			t.Errorf("an alert about %q at the next step of a ramp that began 8 minutes ago: got %s, want act", signal.Version, got)
		}
	}
	c.History[1].Content = "c5"
	if got := c.Assess(signal).Verdict; got != rollback.Settling {
		t.Errorf("the revision before has other content: got %s, want settling", got)
	}
}

// The default of BACKOUT_WINDOWS has only alerts whose rules look at the canary of the last minute; how far they look at the
// stable track does not matter.
func TestDefaultWindowsFitTheRules(t *testing.T) {
	text, err := os.ReadFile("../rules/canary.rules.yml")
	if err != nil {
		t.Fatal(err)
	}
	_, rules, _ := strings.Cut(string(text), "groups:")
	for alert, window := range rollbacktest.Policy().Windows {
		_, rule, found := strings.Cut(rules, "- alert: "+alert+"\n")
		expr, _, _ := strings.Cut(rule, "labels:")
		keep := regexp.MustCompile(`(?:\bfor|keep_firing_for): (\S+)`).FindAllStringSubmatch(expr, -1)
		if !found || regexp.MustCompile(`[1-9][0-9]*m\b`).MatchString(regexp.MustCompile(`\bstable:[a-z_:]+[0-9]+m\b|\b1m\b|[a-z_]+1m`).ReplaceAllString(expr, "")) {
			t.Errorf("%s looks back longer than a minute, or is no rule: BACKOUT_WINDOWS must not have it", alert)
		}
		if want := 2*time.Minute + time.Duration(len(keep))*time.Minute; window < want {
			t.Errorf("%s: a window of a minute, %v and one evaluation are %s; BACKOUT_WINDOWS has %s", alert, keep, want, window)
		}
	}
}
