package cli

import (
	"bytes"
	"testing"
	"time"

	"github.com/upcommerce/backout/rollback"
)

func TestARecordIsALineOfTheTable(t *testing.T) {
	at := time.Now().Add(-3 * time.Minute)
	done := func(after time.Duration) *rollback.Step {
		return &rollback.Step{Started: at, Done: at.Add(after), Attempts: 1}
	}
	var out bytes.Buffer
	err := printTable(&out, []rollback.Record{
		{
			Key: rollback.Key{Namespace: "shop", Release: "web"}, Revision: 2, Opened: at, Closed: at.Add(time.Minute),
			Decisions: []rollback.Decision{{Verdict: rollback.Act}}, Shed: done(34 * time.Millisecond), Rollback: done(532 * time.Millisecond),
			Weights: []rollback.Weight{{From: "20", To: "0"}}, Target: 1, Outcome: rollback.OutcomeRecovered,
		},
		{
			Key: rollback.Key{Namespace: "shop", Release: "api"}, Revision: 11, Opened: at, Closed: at,
			Decisions: []rollback.Decision{{Verdict: rollback.Observe}},
		},
	})
	want := `AGE   RELEASE    REVISION   VERDICT   STATE       DONE                        TO ZERO   TO ROLLED BACK
3m    shop/web   2          act       recovered   rolled back to revision 1   0.034s    0.532s
3m    shop/api   11         observe   observed    -                           -         -
`
	if got := out.String(); err != nil || got != want {
		t.Errorf("the table is, %v:\n%s\nwant\n%s", err, got, want)
	}
}
