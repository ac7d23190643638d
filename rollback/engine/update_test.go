package engine_test

import (
	"testing"
	"time"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/engine"
	"github.com/upcommerce/backout/rollback/report"
	"github.com/upcommerce/backout/rollback/rollbacktest"
)

func TestARecordThatWasDeletedAndOpenedAgainIsAnotherRecord(t *testing.T) {
	simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
		c.afterShed = func() {
			// Before the shed is recorded, an operator deletes the record and restores the
			// weight, and the alert arrives again.
			again := c.copyRecords(rollbacktest.Shop())[0]
			again.Opened = again.Opened.Add(time.Millisecond)
			c.records[rollbacktest.Shop()] = []rollback.Record{again}
			c.setWeight("20")
		}
		deliver(t, e, alert("shed"))
		wait(time.Minute)
		if r := c.shopRecord(2); c.weight != "0" || !r.Hold.Active() {
			t.Errorf("weight %s, %s; want the new record's own shed done", c.weight, report.Summary(&r))
		}
	})
}

func TestAFailedWriteAfterAShedIsRepeated(t *testing.T) {
	simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
		c.afterShed = func() { c.recordErrors = []error{errAPIServer, errAPIServer} }
		deliver(t, e, alert("rollback"))
		wait(time.Minute)
		if r := c.shopRecord(2); !r.Rollback.Succeeded() || c.weight != "20" {
			t.Errorf("%s, weight %s; want the release rolled back and the weight restored", report.Summary(&r), c.weight)
		}
	})
}
