package rollback_test

import (
	"strings"
	"testing"
	"time"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/rollbacktest"
)

// manualCase is revision 3, which an operator rolls back; revision 1 is v1, revision 2 has failed.
func manualCase() rollback.Case {
	return rollback.Case{Key: rollbacktest.Shop(), Now: rollbacktest.Now(), Policy: rollbacktest.Policy(), History: rollback.History{
		{Number: 4, UID: "u4", Status: rollback.StatusDeployed, Content: "c4", Chart: "shop", Deployed: rollbacktest.Now().Add(-time.Hour)},
		{Number: 3, UID: "u3", Status: rollback.StatusSuperseded, Content: "c3", Chart: "shop"},
		{Number: 2, UID: "u2", Status: rollback.StatusFailed, Content: "c2", Chart: "shop"},
		{Number: 1, UID: "u1", Status: rollback.StatusSuperseded, Content: "c1", Chart: "shop"},
	}}
}

func TestManualTarget(t *testing.T) {
	bad := rollback.Record{
		Key: rollbacktest.Shop(), Revision: 3, UID: "u3", Content: "c3", Rollback: &rollback.Step{Started: rollbacktest.Now()}, Closed: rollbacktest.Now(),
	}
	for name, c := range map[string]struct {
		to, want    int
		note, fails string
	}{
		"the one that backout would choose":    {0, 1, "", ""},
		"known bad, and named by the operator": {3, 3, "known bad", ""},
		"a good one":                           {1, 1, "", ""},
		"one that failed":                      {2, 0, "", "Helm status is failed"},
		"the suspect itself":                   {4, 0, "", "not older"},
		"one that does not exist":              {9, 0, "", "no revision 9"},
	} {
		t.Run(name, func(t *testing.T) {
			facts := manualCase()
			facts.Records = []rollback.Record{bad}
			target, note, err := facts.ManualTarget(c.to)
			if target.Number != c.want || !strings.Contains(note, c.note) || (note != "") != (c.note != "") || (err != nil) != (c.fails != "") {
				t.Errorf("got revision %d, %q, %v; want %d, %q, %q", target.Number, note, err, c.want, c.note, c.fails)
			}
			if err != nil && (!strings.Contains(err.Error(), c.fails) || !strings.Contains(err.Error(), "helm history")) {
				t.Errorf("the error says why, and where to look for another one: got %v", err)
			}
		})
	}
}

// TestAManualRollbackKeepsBackoutOff: alerts are recorded and lead to nothing, until the operator's
// command has ended or another client has changed the release.
func TestAManualRollbackKeepsBackoutOff(t *testing.T) {
	claim := rollback.Record{
		Key: rollbacktest.Shop(), Revision: 4, UID: "u4", Content: "c4",
		Manual: &rollback.ManualRollback{Operator: "ann", Target: 1, Started: rollbacktest.Now(), Progress: rollbacktest.Now()},
	}
	ended := claim
	ended.Manual = &rollback.ManualRollback{Operator: "ann", Ended: rollbacktest.Now()}
	made := func(claim string) rollback.History {
		return append(rollback.History{{Number: 5, UID: "u5", Status: rollback.StatusDeployed, Content: "c5", Chart: "shop", Deployed: rollbacktest.Now(), Claim: claim}}, manualCase().History...)
	}
	for name, c := range map[string]struct {
		history rollback.History
		record  rollback.Record
		off     bool
	}{
		"while the command works":                  {manualCase().History, claim, true},
		"after Helm has made the new revision":     {made("u4"), claim, true},
		"after another client has made a revision": {made(""), claim, false},
		"after the command has ended":              {manualCase().History, ended, false},
		"for another installation of the release":  {append(rollback.History{{Number: 4, UID: "other", Status: rollback.StatusDeployed}}, manualCase().History[1:]...), claim, false},
	} {
		t.Run(name, func(t *testing.T) {
			facts := manualCase()
			facts.History, facts.Records = c.history, []rollback.Record{c.record}
			facts.Signals = []rollback.Signal{firing("e1", rollback.LevelRollback, time.Second)}
			d := rollback.Decide(facts)
			if off := d.Verdict == rollback.Paused; off != c.off || off && (d.Shed || d.Rollback || !strings.Contains(d.Reason, "ann rolls the release back to revision 1")) {
				t.Errorf("got %+v; want backout off: %t", d, c.off)
			}
		})
	}
}

// TestAManualRollbackOfAFailedRevisionKeepsBackoutOff: also for alerts about the deployed revision
// below it.
func TestAManualRollbackOfAFailedRevisionKeepsBackoutOff(t *testing.T) {
	facts := manualCase()
	failed := rollback.Revision{
		Number: 5, UID: "u5", Status: rollback.StatusFailed, Content: "c5", Chart: "shop", Deployed: rollbacktest.Now(),
		Description: `Upgrade "` + rollbacktest.Shop().Release + `" failed: pre-upgrade hooks failed: timed out`,
	}
	facts.History = append(rollback.History{failed}, facts.History...)
	facts.Signals = []rollback.Signal{firing("e1", rollback.LevelRollback, time.Second)}
	facts.Records = []rollback.Record{{
		Key: rollbacktest.Shop(), Revision: 5, UID: "u5", Content: "c5",
		Manual: &rollback.ManualRollback{Operator: "ann", Target: 4, Started: rollbacktest.Now(), Progress: rollbacktest.Now()},
	}}
	facts = facts.AtSuspect()
	if suspect := facts.History.Newest().Number; suspect != 4 {
		t.Fatalf("the suspect is revision %d, want 4", suspect)
	}
	if d := rollback.Decide(facts); d.Verdict != rollback.Paused || d.Shed || d.Rollback {
		t.Errorf("got %+v; want backout off", d)
	}
}

func TestPlainHelm(t *testing.T) {
	for line, want := range map[string]string{
		"backout rollback shop/web --to 2":                                                       "helm rollback web 2 -n shop",
		"backout rollback shop/web --to 2 --allow 'hook,pvc'":                                    "helm rollback web 2 -n shop",
		"flux suspend helmrelease web -n flux-system && backout rollback shop/web --to REVISION": "flux suspend helmrelease web -n flux-system && helm rollback web REVISION -n shop",
		"helm rollback web 2 -n shop":                                                            "",
		"backout unhold shop/web":                                                                "",
	} {
		c := rollback.ReadCommand(line)
		if c.String() != line || c.PlainHelm().String() != want {
			t.Errorf("%q with Helm alone is %q: got %q", c, want, c.PlainHelm())
		}
	}
}
