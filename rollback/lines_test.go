package rollback_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/upcommerce/backout/rollback"
)

func TestTheLinesAboutOneSourceLeaveOutThoseAboutNoOther(t *testing.T) {
	var limits rollback.LineLimits
	now := time.Now()
	logged := func(s rollback.LineSource, lines int) (logged, others int) {
		for range lines {
			say, more := limits.Of(s).Count(now)
			if others += more; say {
				logged++
			}
		}
		return logged, others
	}
	loud := rollback.LineSource{Sender: "token of shop", Reason: "bad-label"}
	for s, lines := range map[rollback.LineSource]int{
		loud: 1000,
		{Sender: "token of payments", Reason: "bad-label"}: 3,
		{Sender: "token of shop", Reason: "other-cluster"}: 3,
	} {
		if got, others := logged(s, lines); got != min(lines, 20) || others != 0 {
			t.Errorf("of %d lines about %+v, %d are logged and %d counted", lines, s, got, others)
		}
	}
	now = now.Add(10 * time.Second)
	if got, others := logged(loud, 1); got != 1 || others != 980 {
		t.Errorf("after 10 s, %d lines are logged, with %d others; want 1 with 980", got, others)
	}
}

func TestSendersWithInventedNamesFillNoMemory(t *testing.T) {
	var limits rollback.LineLimits
	now := time.Now()
	logged := 0
	for i := range 100_000 {
		if say, _ := limits.Of(rollback.LineSource{Sender: fmt.Sprint("certificate CN=", i)}).Count(now); say {
			logged++
		}
	}
	if logged != 1020 {
		t.Errorf("%d lines are logged, want one of each of 1,000 senders, and 20 of all others", logged)
	}
}
