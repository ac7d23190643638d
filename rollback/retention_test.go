package rollback_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/rollbacktest"
)

func TestOldRecordsArePrunable(t *testing.T) {
	day := 24 * time.Hour
	closed := func(revision int, age time.Duration, content string) rollback.Record {
		opened := rollbacktest.Now().Add(-age)
		return rollback.Record{
			Key: rollbacktest.Shop(), Revision: revision, UID: fmt.Sprintf("uid-%d", revision), Content: content, Opened: opened,
			Closed: opened, Rollback: &rollback.Step{Started: opened, Done: opened},
		}
	}
	history := rollback.History{{Number: 99, UID: "uid-99", Content: "good"}, {Number: 2, UID: "uid-2", Content: "bad"}}
	for name, tc := range map[string]struct {
		records []rollback.Record
		want    []int
	}{
		"ten are kept": {func() (all []rollback.Record) {
			for i := range 12 {
				all = append(all, closed(i+3, time.Duration(20-i)*time.Hour, fmt.Sprint("c", i)))
			}
			return all
		}(), []int{4, 3}},
		"90 days are kept": {[]rollback.Record{closed(7, 89*day, "c7"), closed(8, 91*day, "c8")}, []int{8}},
		"records that make content in the history known bad are kept": {[]rollback.Record{closed(2, 900*day, "bad"), closed(5, 900*day, "bad")}, nil},
		"the record whose rollback made the newest revision is kept": {[]rollback.Record{func() rollback.Record {
			r := closed(8, 900*day, "c8")
			r.Made = 99
			return r
		}()}, nil},
		"open records are kept": {[]rollback.Record{func() rollback.Record {
			r := closed(8, 900*day, "c8")
			r.Closed = time.Time{}
			return r
		}()}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			var got []int
			for _, r := range rollback.Prunable(tc.records, history, rollbacktest.Policy(), rollbacktest.Now()) {
				got = append(got, r.Revision)
			}
			if !slices.Equal(got, tc.want) {
				t.Errorf("records that may be deleted: %v, want %v", got, tc.want)
			}
		})
	}
}
